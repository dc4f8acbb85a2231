//! QR codes as SVG, to stand in a page.

use std::fmt::Write as _;

use qrcode::{Color, EcLevel, QrCode};

pub(super) use qrcode::types::QrError;

/// The light margin that readers need, in modules (ISO/IEC 18004 section 5.3.8).
const QUIET_ZONE: usize = 4;

/// The code of a text as an `<svg>` that says of itself what it shows; one unit is one module.
///
/// # Errors
/// The text is too long for a code.
pub(super) fn svg(text: &str) -> Result<String, QrError> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M)?;
    let width = code.width();
    let side = width + 2 * QUIET_ZONE;
    let mut path = String::new();
    for (y, row) in code.to_colors().chunks(width).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|left, right| left == right) {
            let length = run.len();
            if run.first() == Some(&Color::Dark) {
                // Writing to a string cannot fail.
                let _ = write!(
                    path,
                    "M{} {}h{length}v1h-{length}z",
                    x + QUIET_ZONE,
                    y + QUIET_ZONE
                );
            }
            x += length;
        }
    }
    Ok(format!(
        "<svg class=\"qr-code\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\" role=\"img\" \
         aria-label=\"QR code\"><path fill=\"#fff\" d=\"M0 0h{side}v{side}h-{side}z\"/>\
         <path fill=\"#000\" d=\"{path}\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The modules that the path of an SVG paints, row by row.
    fn painted(svg: &str) -> Vec<(usize, usize)> {
        let path = svg.rsplit(" d=\"").next().unwrap();
        let runs = path.split('M').skip(1);
        let mut modules = Vec::new();
        for run in runs {
            let (place, rest) = run.split_once('h').unwrap();
            let (x, y) = place.split_once(' ').unwrap();
            let length: usize = rest.split_once('v').unwrap().0.parse().unwrap();
            let (x, y): (usize, usize) = (x.parse().unwrap(), y.parse().unwrap());
            modules.extend((x..x + length).map(|x| (x, y)));
        }
        modules
    }

    #[test]
    fn every_dark_module_is_painted_once_and_no_other() {
        let text = "dcaccount:https://chat.example/new";
        let code = QrCode::with_error_correction_level(text, EcLevel::M).unwrap();
        let mut dark = Vec::new();
        for y in 0..code.width() {
            for x in 0..code.width() {
                if code[(x, y)] == Color::Dark {
                    dark.push((x + QUIET_ZONE, y + QUIET_ZONE));
                }
            }
        }
        assert_eq!(painted(&svg(text).unwrap()), dark);
    }

    #[test]
    fn a_text_may_be_too_long() {
        assert!(svg(&"x".repeat(8000)).is_err());
    }
}
