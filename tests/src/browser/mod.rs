//! A headless Chromium that tests look at web pages with.
//!
//! It is driven over a pair of pipes by the Chrome DevTools Protocol: JSON, each message ended by a zero octet
//! (`--remote-debugging-pipe`). So there is no port that others could talk to, and a browser whose test has
//! died reads the end of its pipe and ends. Every wait has a time limit.
//!
//! Certificates are not checked here: Chromium on Linux knows only those of a database in the user's home, and
//! that relays show the right ones is for the tests of federation to see.

pub mod axe;
mod pipe;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use base64_simd::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use pipe::Pipe;

/// Debian's package.
pub const PACKAGE: &str = "chromium";

/// How long any step may take, on a machine that runs other tests as well.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which colours the reader likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Scheme {
    /// As CSS has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// A running browser with one page. Dropping it ends the browser too, but waits for nothing.
pub struct Browser {
    pipe: Pipe,
    session: String,
    // Goes after the browser.
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser that finds `host` at this address, whatever port a link names.
    ///
    /// # Errors
    /// Chromium is not installed or does not start.
    pub async fn start(host: &str, address: SocketAddr) -> anyhow::Result<Self> {
        let profile = tempfile::tempdir().context("a folder for a browser's profile")?;
        let arguments = [
            "--headless".to_owned(),
            // Its sandbox refuses root, which tests of Postfix and Dovecot are; pages are our own.
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--ignore-certificate-errors".to_owned(),
            // Nothing but our pages: no updates, no services of Google's.
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            format!(
                "--host-resolver-rules=MAP {host}:443 {address}, MAP * ~NOTFOUND, EXCLUDE {}",
                address.ip()
            ),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let mut pipe = Pipe::start(PACKAGE, &arguments)?;
        let opening = async {
            let target = json!({ "url": "about:blank" });
            let target = pipe.call(None, "Target.createTarget", target).await?;
            let target = json!({ "targetId": target["targetId"], "flatten": true });
            let attached = pipe.call(None, "Target.attachToTarget", target).await?;
            let session = attached["sessionId"].as_str().map(ToOwned::to_owned);
            session.context("a page without a session")
        };
        let session = timeout(PATIENCE, opening).await;
        let session = session.context("Chromium does not answer")??;
        let mut browser = Self {
            pipe,
            session,
            _profile: profile,
        };
        browser.call("Page.enable", json!({})).await?;
        browser.call("Network.enable", json!({})).await?;
        Ok(browser)
    }

    /// Ends the browser, and waits until nothing is left of it.
    ///
    /// # Errors
    /// It does not end.
    pub async fn close(self) -> anyhow::Result<()> {
        let closed = timeout(PATIENCE, self.pipe.close()).await;
        closed.context("Chromium does not end")?
    }

    async fn call(&mut self, method: &str, parameters: Value) -> anyhow::Result<Value> {
        let answer = self.pipe.call(Some(&self.session), method, parameters);
        timeout(PATIENCE, answer)
            .await
            .with_context(|| format!("Chromium does not answer {method}"))?
    }

    /// Gives the page a size in CSS pixels and the reader's taste.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn look(&mut self, width: u32, height: u32, scheme: Scheme) -> anyhow::Result<()> {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        let scheme = json!({
            "features": [{ "name": "prefers-color-scheme", "value": scheme.name() }],
        });
        self.call("Emulation.setDeviceMetricsOverride", size)
            .await?;
        self.call("Emulation.setEmulatedMedia", scheme).await?;
        Ok(())
    }

    /// Opens a page and waits until it has loaded: the URLs of all that was asked for.
    ///
    /// # Errors
    /// It does not load.
    pub async fn open(&mut self, url: &str) -> anyhow::Result<Vec<String>> {
        self.pipe.forget_events();
        let opened = self.call("Page.navigate", json!({ "url": url })).await?;
        if let Some(error) = opened["errorText"].as_str() {
            anyhow::bail!("{url}: {error}");
        }
        timeout(PATIENCE, self.pipe.event("Page.loadEventFired"))
            .await
            .with_context(|| format!("{url} does not load"))??;
        let requests = self.pipe.events("Network.requestWillBeSent");
        let urls = requests.filter_map(|event| event["request"]["url"].as_str());
        Ok(urls.map(ToOwned::to_owned).collect())
    }

    /// What an expression of JavaScript comes to, once its promise is kept. The page's own policy about scripts
    /// does not hold for it.
    ///
    /// # Errors
    /// It throws.
    pub async fn evaluate(&mut self, expression: &str) -> anyhow::Result<Value> {
        let parameters = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
        });
        let mut answer = self.call("Runtime.evaluate", parameters).await?;
        if let Some(exception) = answer.get("exceptionDetails") {
            anyhow::bail!("JavaScript: {exception}");
        }
        Ok(answer["result"]["value"].take())
    }

    /// The whole page as PNG, also what one would have to scroll to.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn screenshot(&mut self) -> anyhow::Result<Vec<u8>> {
        let metrics = self.call("Page.getLayoutMetrics", json!({})).await?;
        let size = &metrics["cssContentSize"];
        let clip = json!({
            "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1,
        });
        let parameters = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let answer = self.call("Page.captureScreenshot", parameters).await?;
        let data = answer["data"].as_str().context("no picture")?;
        STANDARD.decode_to_vec(data).context("a broken picture")
    }
}
