//! QR codes for a terminal.

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
pub use qrcode::types::QrError;

/// The QR code of a text, two modules to a character; dark on light whatever the terminal's colours
/// when `colours` may be set.
///
/// # Errors
/// The text is too long for a QR code.
pub fn qr_code(text: &str, colours: bool) -> Result<String, QrError> {
    const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
    const RESET: &str = "\x1b[0m";

    let code = QrCode::with_error_correction_level(text, qrcode::EcLevel::L)?;
    let blocks = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Dark)
        .light_color(Dense1x2::Light)
        .quiet_zone(true)
        .build();
    if !colours {
        return Ok(blocks);
    }
    let lines = blocks
        .lines()
        .map(|line| format!("{BLACK_ON_WHITE}{line}{RESET}\n"));
    Ok(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qr_code_is_square() {
        let code = qr_code("dclogin:someone@chat.test?p=x&v=1", false).unwrap();
        let width = code.lines().next().unwrap().chars().count();
        // Two rows of modules to a line.
        assert_eq!(code.lines().count(), width.div_ceil(2));
    }
}
