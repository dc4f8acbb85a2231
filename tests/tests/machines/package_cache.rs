//! The proxy by which machines get packages keeps whole packages, and nothing else.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use testbed::host::addresses::LoopbackAddress;

const PATIENCE: Duration = Duration::from_secs(60);

/// A mirror that notes what it is asked for. Below `short/` it breaks off.
struct Mirror {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Mirror {
    fn new() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away is its own affair.
                let _ = answer(stream, &notes);
            }
        });
        Ok(Self { address, asked })
    }

    /// What it was asked for since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.asked))
    }
}

fn lock(notes: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(stream: TcpStream, notes: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    lock(notes).push(path.clone());
    let body = format!("content of {path}");
    let claimed = body.len() + if path.contains("/short/") { 9 } else { 0 };
    write!(
        &stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {claimed}\r\n\r\n{body}"
    )
}

/// The proxy, with a cache of its own, ended when dropped.
struct Proxy {
    process: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
    _ip: LoopbackAddress,
}

impl Proxy {
    fn new() -> anyhow::Result<Self> {
        let ip = LoopbackAddress::take(&[3142])?;
        let address = SocketAddr::from((ip.ip(), 3142));
        let folder = tempfile::tempdir()?;
        let ready = folder.path().join("ready");
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("machines/apt-proxy");
        let process = Command::new("bash")
            .args(["-c", "exec \"$@\" 8</proc/self/ns/net", "-"])
            .arg(program)
            .args(["--listen", &address.to_string(), "--fetch-from", "8"])
            .arg("--cache")
            .arg(folder.path().join("cache"))
            .arg("--ready")
            .arg(&ready)
            .arg("127.0.0.1")
            .spawn()?;
        let proxy = Self {
            process,
            address,
            folder,
            _ip: ip,
        };
        let deadline = Instant::now() + PATIENCE;
        while !ready.exists() {
            ensure!(Instant::now() < deadline, "the proxy does not start");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(proxy)
    }

    /// The answer to a request for a URL: status and body.
    fn get(&self, url: &str) -> anyhow::Result<(String, String)> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {url} HTTP/1.1\r\nHost: mirror\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
        let status = head.split(' ').nth(1).context("no status")?;
        Ok((status.to_owned(), body.to_owned()))
    }

    /// All files in the cache, below the mirror's name.
    fn kept(&self) -> anyhow::Result<Vec<PathBuf>> {
        let top = self.folder.path().join("cache/127.0.0.1");
        let (mut folders, mut files) = (vec![top.clone()], Vec::new());
        while let Some(folder) = folders.pop() {
            let Ok(entries) = folder.read_dir() else {
                continue;
            };
            for entry in entries {
                let path = entry?.path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => files.push(path.strip_prefix(&top)?.to_owned()),
                }
            }
        }
        Ok(files)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_package_is_fetched_once() -> anyhow::Result<()> {
    let (mirror, proxy) = (Mirror::new()?, Proxy::new()?);
    let url = format!(
        "http://{}/debian/pool/main/h/hello/hello_2%2b1_all.deb",
        mirror.address
    );
    for _ in 0..3 {
        let (status, body) = proxy.get(&url)?;
        assert_eq!(status, "200");
        assert_eq!(
            body,
            "content of /debian/pool/main/h/hello/hello_2%2b1_all.deb"
        );
    }
    assert_eq!(mirror.asked().len(), 1);
    let kept = Path::new("debian/pool/main/h/hello/hello_2+1_all.deb");
    assert_eq!(proxy.kept()?, [kept]);
    Ok(())
}

#[test]
fn several_may_fetch_the_same_package() -> anyhow::Result<()> {
    let (mirror, proxy) = (Mirror::new()?, Proxy::new()?);
    let url = format!("http://{}/pool/a/a.deb", mirror.address);
    thread::scope(|scope| {
        let gets: Vec<_> = (0..20).map(|_| scope.spawn(|| proxy.get(&url))).collect();
        for get in gets {
            let (status, body) = get.join().unwrap()?;
            assert_eq!((&*status, &*body), ("200", "content of /pool/a/a.deb"));
        }
        anyhow::Ok(())
    })?;
    assert_eq!(proxy.kept()?, [Path::new("pool/a/a.deb")]);
    Ok(())
}

#[test]
fn nothing_but_whole_packages_is_kept() -> anyhow::Result<()> {
    let (mirror, proxy) = (Mirror::new()?, Proxy::new()?);
    for path in [
        "/debian/dists/bookworm/InRelease",
        "/debian/pool/a/a.dsc",
        "/debian/pool/a/a.deb?x",
        "/debian/pool/../../../a.deb",
        "/debian/pool/%2e%2e/%2e%2e/a.deb",
        "/debian/pool//a.deb",
        "/debian/pool/.a.deb",
        "/debian/pool/short/a.deb",
    ] {
        let url = format!("http://{}{path}", mirror.address);
        for _ in 0..2 {
            let (_, body) = proxy.get(&url)?;
            assert_eq!(body, format!("content of {path}"));
        }
        assert_eq!(mirror.asked(), [path, path]);
    }
    assert_eq!(proxy.kept()?, Vec::<PathBuf>::new());
    Ok(())
}

#[test]
fn no_other_host_is_asked() -> anyhow::Result<()> {
    let (mirror, proxy) = (Mirror::new()?, Proxy::new()?);
    let url = format!("http://localhost:{}/pool/a.deb", mirror.address.port());
    assert_eq!(proxy.get(&url)?.0, "403");
    assert_eq!(mirror.asked(), Vec::<String>::new());
    Ok(())
}
