//! The web pages as people see them: in Chromium, on phone and desktop, light and dark.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::json;
use testbed::browser::{Browser, Scheme, axe};
use testbed::{Target, TestRelay};

use crate::fixture::{shared_federation, unhurried};

const PAGES: [&str; 4] = ["/", "/info.html", "/privacy.html", "/nothing-here"];

/// Width and height in CSS pixels. The first is the narrowest that WCAG 1.4.10 thinks of.
const SIZES: [(&str, u32, u32); 3] = [
    ("narrow", 320, 640),
    ("phone", 360, 740),
    ("desktop", 1280, 800),
];

async fn browse(target: &Target) -> anyhow::Result<Browser> {
    let https = target.https.as_ref().context("no HTTPS port")?;
    let address: SocketAddr = https.to_string().parse()?;
    Browser::start(&target.domain, address).await
}

/// The text of the one QR code in a picture.
fn qr_code(picture: &[u8]) -> anyhow::Result<String> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(picture));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info()?;
    let mut pixels = vec![0; reader.output_buffer_size().context("too large")?];
    let info = reader.next_frame(&mut pixels)?;
    let (width, height) = (info.width as usize, info.height as usize);
    let samples = info.color_type.samples();
    let grey = |x, y| {
        let pixel = (y * width + x) * samples;
        let colours = &pixels[pixel..pixel + samples.min(3)];
        let sum: usize = colours.iter().map(|&colour| usize::from(colour)).sum();
        u8::try_from(sum / colours.len()).unwrap_or(u8::MAX)
    };
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, grey);
    let codes = image.detect_grids();
    ensure!(codes.len() == 1, "{} QR codes", codes.len());
    Ok(codes[0].decode()?.1)
}

/// A folder that stays, for somebody to look at.
fn pictures() -> anyhow::Result<PathBuf> {
    let folder = tempfile::Builder::new()
        .prefix("chatmail-pages-")
        .tempdir()?
        .keep();
    println!("screenshots: {}", folder.display());
    Ok(folder)
}

fn picture(folder: &Path, page: &str, size: &str, scheme: Scheme) -> PathBuf {
    let page = page.trim_matches('/').trim_end_matches(".html");
    let page = if page.is_empty() { "index" } else { page };
    folder.join(format!("{page}-{size}-{}.png", scheme.name()))
}

#[tokio::test]
async fn pages_are_fit_to_be_seen_by_everybody() -> anyhow::Result<()> {
    let relay = TestRelay::start(
        unhurried()
            .with(
                "privacy_postal",
                "Somebody with a name that is long, 1 Main Street, Exampletown",
            )
            .with(
                "privacy_mail",
                "a-rather-long-name-for-an-address@post.chat.example",
            )
            .with("privacy_supervisor", "הרשות להגנת הפרטיות"),
    )?;
    let target = &relay.target;
    let script = axe::script().await?;
    let began = Instant::now();
    let mut browser = browse(target).await?;
    let folder = pictures()?;
    let site = format!("https://{}", target.domain);
    for page in PAGES {
        for scheme in [Scheme::Light, Scheme::Dark] {
            for (size, width, height) in SIZES {
                browser.look(width, height, scheme).await?;
                let requests = browser.open(&format!("{site}{page}")).await?;
                let elsewhere = requests.iter().find(|url| !url.starts_with(&site));
                ensure!(elsewhere.is_none(), "{page} loads {elsewhere:?}");

                let looks = browser
                    .evaluate("[document.documentElement.scrollWidth, document.styleSheets.length]")
                    .await?;
                ensure!(looks == json!([width, 1]), "{page}, {size}: {looks}");
                let found = axe::violations(&mut browser, &script).await?;
                ensure!(found.is_empty(), "{page}, {size}, {scheme:?}: {found:#?}");

                let shot = browser.screenshot().await?;
                fs::write(picture(&folder, page, size, scheme), &shot)?;
                if page == "/" {
                    let link = format!("dcaccount:https://{}/new", target.domain);
                    ensure!(qr_code(&shot)? == link, "another link in {size}");
                }
            }
        }
    }
    println!("judged and pictured in {:?}", began.elapsed());
    browser.close().await?;
    relay.stop()
}

/// Otherwise a test that finds nothing would tell nothing.
#[tokio::test]
async fn a_page_that_is_not_fit_is_found_out() -> anyhow::Result<()> {
    let relays = shared_federation()?;
    let mut browser = browse(&relays.target).await?;
    let script = axe::script().await?;
    browser.look(320, 640, Scheme::Light).await?;
    browser
        .open(&format!("https://{}/", relays.target.domain))
        .await?;
    browser
        .evaluate("document.querySelector('.lead').style.color = '#ddd', 0")
        .await?;
    let found = axe::violations(&mut browser, &script).await?;
    ensure!(
        found.len() == 1 && found[0].starts_with("color-contrast"),
        "{found:?}"
    );
    browser.close().await
}

#[tokio::test]
async fn pages_of_relays_that_vouch_for_themselves_are_too() -> anyhow::Result<()> {
    let relays = shared_federation()?;
    let target = &relays.peers[1];
    let script = axe::script().await?;
    let mut browser = browse(target).await?;
    browser.look(320, 640, Scheme::Dark).await?;
    browser.open(&format!("https://{}/", target.domain)).await?;
    let found = axe::violations(&mut browser, &script).await?;
    ensure!(found.is_empty(), "{found:#?}");
    let link = format!("https://{}/new", target.domain);
    ensure!(qr_code(&browser.screenshot().await?)? == link);
    browser.close().await
}
