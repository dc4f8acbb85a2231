//! How to reach the database: the value of `database_url`.

use std::fmt;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::config::Value;

/// After this long without a sign of life of the server a connection is given up.
const SILENCE: Duration = Duration::from_secs(5);

/// Where the database is, and who we are there. Shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(Box<Config>);

impl DatabaseUrl {
    /// Whether the server must use TLS.
    pub(super) fn wants_tls(&self) -> bool {
        self.0.get_ssl_mode() == SslMode::Require
    }

    /// Whether a server is, or may be, reached over the network, and not by a unix socket.
    pub fn leads_over_network(&self) -> bool {
        let mut hosts = self.0.get_hosts().iter();
        hosts.any(|host| matches!(host, Host::Tcp(_)))
    }

    /// What a connection needs, with our own limits where nothing else is said.
    pub(super) fn settings(&self, statement: Duration, connect: Duration) -> Config {
        let mut settings = (*self.0).clone();
        if settings.get_connect_timeout().is_none() {
            settings.connect_timeout(connect);
        }
        settings.tcp_user_timeout(SILENCE);
        if settings.get_application_name().is_none() {
            settings.application_name("chatmail");
        }
        // What somebody has written himself stands behind, and holds.
        let limits = format!(
            "-c statement_timeout={0} -c lock_timeout={0} -c idle_in_transaction_session_timeout=60000",
            statement.as_millis()
        );
        let own = settings.get_options().unwrap_or_default();
        let options = format!("{limits} {own}");
        settings.options(options.trim_end());
        settings
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("DatabaseUrl(not shown)")
    }
}

impl Value for DatabaseUrl {
    const ALLOWED: &'static str = "postgresql://USER@HOST/NAME, or words such as host=/run/postgresql \
        dbname=chatmail; sslmode is disable, prefer or require";

    const SECRET: bool = true;

    fn read(text: &str) -> Option<Self> {
        let settings: Config = text.parse().ok()?;
        (!settings.get_hosts().is_empty()).then(|| Self(Box::new(settings)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("postgresql://me:secret@db.example:5433/mail?sslmode=require", true)]
    #[case("postgres://me@db.example/mail", false)]
    #[case("host=/run/postgresql dbname=chatmail password=secret", false)]
    #[case("host=db.example sslmode=require", true)]
    fn urls(#[case] text: &str, #[case] tls: bool) {
        let url = DatabaseUrl::read(text).unwrap();
        assert_eq!(url.wants_tls(), tls);
        assert!(!format!("{url:?}").contains("secret"));
    }

    #[rstest]
    #[case("postgresql://me@db.example/mail", true)]
    #[case("postgresql://me@10.0.0.1:5433/mail", true)]
    #[case("host=localhost dbname=mail", true)]
    #[case("host=/run/postgresql,db.example dbname=mail", true)]
    #[case("host=/run/postgresql dbname=mail", false)]
    #[case("postgresql://%2Frun%2Fpostgresql/mail", false)]
    fn the_network_is_needed_for_hosts_and_not_for_sockets(
        #[case] text: &str,
        #[case] network: bool,
    ) {
        let url = DatabaseUrl::read(text).unwrap();
        assert_eq!(url.leads_over_network(), network);
    }

    #[rstest]
    #[case("dbname=chatmail")]
    #[case("postgresql://me@db.example/mail?sslmode=verify-full")]
    #[case("mysql://me@db.example/mail")]
    #[case("chatmail")]
    fn no_urls(#[case] text: &str) {
        assert!(DatabaseUrl::read(text).is_none());
    }

    #[test]
    fn the_operators_options_come_last() {
        let url = DatabaseUrl::read("host=h options='-c statement_timeout=9'").unwrap();
        let settings = url.settings(Duration::from_secs(2), Duration::from_secs(1));
        let options = settings.get_options().unwrap();
        assert!(options.starts_with("-c statement_timeout=2000 "));
        assert!(options.ends_with("-c statement_timeout=9"), "{options}");
    }
}
