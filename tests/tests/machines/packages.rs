//! `apt-get install` works inside, and brings up what it installs.

use testbed::machine::Lan;

#[test]
fn packages_and_their_services_are_installed() -> anyhow::Result<()> {
    let lan = Lan::start()?;
    let one = lan.machine("one", lan.ip(11))?;
    one.run_ok(&["apt-get", "update", "--quiet"])?;
    one.run_ok(&["apt-get", "install", "--yes", "--quiet", "hello", "cron"])?;
    assert_eq!(one.run_ok(&["hello"])?, "Hello, world!\n");
    one.run_ok(&["systemctl", "is-active", "cron"])?;

    // Nothing else is to be had from outside.
    let request = "import urllib.request as r, sys\n\
                   o = r.build_opener(r.ProxyHandler({'http': 'http://10.77.0.1:3142'}))\n\
                   o.open('http://example.org/', timeout=60)";
    let refused = one.run(&["python3", "-c", request])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("403: Not an apt source"), "{said}");
    Ok(())
}
