//! The keys of `chatmail.ini`: name, type, default and documentation in one place each.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::value::{
    AcceptUnsigned, AddressList, ByteSize, CertAndKey, Domains, HostAndPort, HttpsUrl, Listen,
    Positive, Servers, Value, Words,
};
use super::{ConfigError, Key, Source};
use crate::address::Domain;
use crate::postgres::DatabaseUrl;
use crate::registration::Registration;

macro_rules! keys {
    ($( $( #[doc = $doc:literal] )+ $name:ident: $type:ty = $default:expr; )+) => {
        /// Everything that `chatmail.ini` says, with defaults filled in.
        #[derive(Clone, Debug)]
        pub struct Config {
            $( $( #[doc = $doc] )+ pub $name: $type, )+
        }

        /// All keys, in the order of their documentation.
        pub static KEYS: &[Key] = &[
            $( Key {
                name: stringify!($name),
                default: $default,
                documentation: &[$( $doc ),+],
                allowed: <$type as Value>::ALLOWED,
            }, )+
        ];

        impl Config {
            pub(super) fn from_source(source: &Source<'_>) -> Result<Self, ConfigError> {
                Ok(Self { $( $name: source.value(stringify!($name), $default)?, )+ })
            }
        }
    };
}

keys! {
    /// The domain of the relay's addresses. An IPv4 address makes them `name@[a.b.c.d]`.
    mail_domain: Domain = None;

    /// Messages an account may send in a minute, sustained; a message counts once however many
    /// recipients it has.
    max_user_send_per_minute: Positive = Some("60");
    /// Messages an account may send at once before the sustained rate applies.
    max_user_send_burst_size: Positive = Some("10");
    /// Recipients an account may address in a minute, counted over all its messages; also the
    /// most it may address at once.
    max_user_recipients_per_minute: Positive = Some("2000");
    /// Accounts, for example bots, that no sending rate limits.
    unlimited_senders: AddressList = Some("");
    /// Accounts that may send cleartext mail.
    passthrough_senders: AddressList = Some("");
    /// Recipients, or domains written `@example.org`, that accounts may send cleartext mail to.
    passthrough_recipients: AddressList = Some("");
    /// Whether outgoing messages keep only the headers that a chat client needs, and no display
    /// names.
    outgoing_strict_headers: bool = Some("false");

    /// The size a mailbox may grow to.
    max_mailbox_size: ByteSize = Some("500M");
    /// The largest message in bytes, headers included.
    max_message_size: ByteSize = Some("31457280");
    /// Days after which a message is deleted.
    delete_mails_after: u32 = Some("20");
    /// Days after which a message over 200 000 bytes is deleted once it was seen.
    delete_large_after: u32 = Some("7");
    /// Days without a login after which an account is deleted.
    delete_inactive_users_after: u32 = Some("90");
    /// Days for which nobody can have the address of an account that was deleted; 0 to let it go at
    /// once.
    tombstone_days: u32 = Some("365");

    /// The shortest name (the part before the `@`) that a new account may have.
    username_min_length: Positive = Some("9");
    /// The longest name that a new account may have, at most 64.
    username_max_length: Positive = Some("9");
    /// The shortest password that a new account may have, in characters.
    password_min_length: u32 = Some("9");
    /// Names that nobody can register.
    reserved_usernames: Words = Some(
        "abuse admin administrator echo hostmaster mailer-daemon noreply postmaster root security webmaster"
    );
    /// While this file exists no account is created.
    nocreate_file: PathBuf = Some("/etc/chatmail-nocreate");
    /// Who may make an account by logging in for the first time: everybody (`open`), nobody (`closed`), or
    /// whoever has an invite (`invite`; see `doveauth invites`).
    registration: Registration = Some("open");
    /// Accounts that may be created in a minute, all in all; 0 for no limit.
    max_creations_per_minute: u32 = Some("600");
    /// Accounts that may be created in an hour from one network, an IPv4 /24 or an IPv6 /48, and as often
    /// such a network may ask at `/new`; 0 for no limit. Logins count when Dovecot tells where they come
    /// from: `passdb/%Ew"%Eu"%r` as its `password_key`.
    max_creations_per_network_per_hour: u32 = Some("100");
    /// No account is created while the load average of the last minute is above this; 0 for no
    /// limit.
    max_load_1m: f64 = Some("5");
    /// No account is created while less memory than this is available.
    min_available_memory: ByteSize = Some("200M");
    /// No account is created while the mailboxes' file system has less free space than this.
    min_free_disk_space: ByteSize = Some("1G");

    /// The folder that holds a mailbox folder for each address.
    mailboxes_dir: PathBuf = Some("/home/vmail/mail/{mail_domain}");
    /// Where classic relays once kept passwords. Read for compatibility, not used.
    passdb_path: String = Some("/home/vmail/passdb.sqlite");
    /// The system user and group that own the mailboxes.
    mail_user: String = Some("vmail");

    /// Where filtermail's milter for submission listens. Postfix runs in a chroot: a unix socket
    /// must lie below its queue directory. Over TCP a message takes some 40 ms longer.
    filtermail_listen: Listen = Some("unix:/var/spool/postfix/filtermail/outgoing.sock");
    /// Where filtermail's milter for mail from other relays listens, for Postfix's port 25.
    filtermail_incoming_listen: Listen = Some("unix:/var/spool/postfix/filtermail/incoming.sock");
    /// Where filtermail's milter for mail that Postfix itself makes, such as bounces, listens; it
    /// signs and refuses nothing.
    filtermail_bounce_listen: Listen = Some("unix:/var/spool/postfix/filtermail/bounce.sock");
    /// Where doveauth answers Dovecot's passdb and userdb lookups (a dict socket).
    doveauth_socket: PathBuf = Some("/run/doveauth/doveauth.socket");
    /// Where doveauth takes Dovecot's last-login times (a dict socket).
    lastlogin_socket: PathBuf = Some("/run/chatmail-lastlogin/lastlogin.socket");
    /// Where doveauth answers Dovecot's IMAP METADATA, and hears of each delivered message (a dict
    /// socket).
    metadata_socket: PathBuf = Some("/run/chatmail-metadata/metadata.socket");
    /// Where doveauth tells the other daemons about accounts (a dict socket).
    policy_socket: PathBuf = Some("/run/doveauth/policy.socket");
    /// Where doveauth lets mxdeliv-bridge look at the block list and change it (a dict socket).
    blocks_socket: PathBuf = Some("/run/doveauth/blocks.socket");
    /// The names of the DKIM keys of this relay, one or more: `NAME._domainkey.DOMAIN` is the DNS
    /// record, `NAME.private` the file in `dkim_keys_dir`. Mail is signed with the first RSA key and
    /// the first Ed25519 key; further keys are for changing over to.
    dkim_selectors: Words = Some("opendkim");
    /// The folder of the DKIM keys.
    dkim_keys_dir: PathBuf = Some("/etc/dkimkeys");
    /// Whether mail is signed that has no recipient outside `mail_domain`. It stays here, so nobody would look at
    /// the signature; unless Postfix sends mail for addresses of `mail_domain` on to other servers
    /// (`virtual_alias_maps`).
    dkim_sign_local: bool = Some("false");
    /// The DNS servers that DKIM keys are asked from; empty: those of /etc/resolv.conf.
    dns_servers: Servers = Some("");
    /// The file of the relay's small tables, such as the block list (SQLite). It belongs to
    /// doveauth.
    database_path: PathBuf = Some("/var/lib/chatmail/chatmail.sqlite");
    /// The PostgreSQL database that keeps accounts, invites, block list and tombstones, for a relay of several
    /// hosts: `postgresql://USER@HOST/NAME`, or words such as `host=/run/postgresql dbname=chatmail`. Empty: accounts
    /// are in `mailboxes_dir`, the others in `database_path`. A password in here is readable for whoever can read
    /// this file; better have none here, but a `database_password_file`. Without either, a file that PGPASSFILE names
    /// is asked, and over a unix socket PostgreSQL can know the mail user (`peer`). With `sslmode=require` the
    /// server must have a certificate from `database_authorities`; without, nothing is encrypted.
    database_url: Option<DatabaseUrl> = Some("");
    /// The file with the password for the server of `database_url`, one line, which is read when a program starts. The
    /// mail user has to be able to read it; one that everybody can read is not used. Empty: there is none.
    database_password_file: Option<PathBuf> = Some("");
    /// The certificate authorities that vouch for the server of `database_url` (a PEM file).
    database_authorities: PathBuf = Some("/etc/ssl/certs/ca-certificates.crt");
    /// Connections that doveauth opens to the server of `database_url` at most.
    database_connections: Positive = Some("8");
    /// Seconds that a question to the database may take, with everything; then it is a temporary failure. Dovecot
    /// waits for 30.
    database_timeout: Positive = Some("4");
    /// What this host is called in `doveauth backends`: one that keeps mailboxes. Empty, with a `database_url`: a
    /// front, which sends each account's sessions to its backend and touches no mailbox.
    backend_name: String = Some("");
    /// Minutes for which an account that was seen in the database stays as it was while the database is away;
    /// 0 to let nobody in then. No account is made meanwhile.
    auth_grace: u32 = Some("10");
    /// Where mxdeliv-bridge takes `POST /mxdeliv`: plain HTTP for nginx, which has TLS. Who can reach
    /// it is believed about client addresses, so a unix socket is better than a port.
    mxdeliv_listen: Listen = Some("unix:/run/mxdeliv-bridge/http.socket");
    /// The header field in which nginx tells mxdeliv-bridge the client's IP address.
    mxdeliv_client_header: String = Some("X-Real-IP");
    /// Where mxdeliv-bridge takes mail for peers from Postfix (LMTP). Postfix runs in a chroot: it
    /// must lie below its queue directory. The folder `peers` beside it gets a link for each domain.
    mxdeliv_lmtp_socket: PathBuf = Some("/var/spool/postfix/mxdeliv/lmtp.sock");
    /// Where mxdeliv-bridge takes mail back from Postfix for recipients that failed when others of the
    /// same message did not (LMTP); below Postfix's queue directory.
    mxdeliv_return_socket: PathBuf = Some("/var/spool/postfix/mxdeliv/return.sock");
    /// Where mxdeliv-bridge tells Postfix which way mail for a domain goes (socketmap); below Postfix's
    /// queue directory.
    mxdeliv_route_socket: PathBuf = Some("/var/spool/postfix/mxdeliv/route.sock");
    /// Where the commands of mxdeliv-bridge reach the daemon.
    mxdeliv_admin_socket: PathBuf = Some("/run/mxdeliv-bridge/admin.socket");
    /// Where filtermail tells mxdeliv-bridge what came from peers by SMTP (datagrams).
    mxdeliv_report_socket: PathBuf = Some("/run/mxdeliv-bridge/report.socket");
    /// What mxdeliv-bridge knows of peers (SQLite). It belongs to mxdeliv-bridge.
    mxdeliv_database_path: PathBuf = Some("/var/lib/mxdeliv-bridge/peers.sqlite");
    /// Dovecot's LMTP socket, for mxdeliv-bridge.
    dovecot_lmtp_socket: PathBuf = Some("/run/dovecot/lmtp");
    /// Postfix's smtpd that sends by SMTP whatever it takes, for mail that peers do not take over HTTPS.
    postfix_smtp_fallback: SocketAddr = Some("127.0.0.1:10028");
    /// Postfix's smtpd that hands what it takes to `mxdeliv_return_socket`.
    postfix_return: SocketAddr = Some("127.0.0.1:10029");
    /// Postfix's configuration folder, for `mxdeliv-bridge queue`.
    postfix_config_dir: PathBuf = Some("/etc/postfix");
    /// Postfix's log file, from which mxdeliv-bridge learns how mail to peers fares over SMTP. Empty:
    /// it does not.
    postfix_log: Option<PathBuf> = Some("");
    /// The address that connections to peers come from. Empty: the one that the system picks. A host with
    /// several addresses, known to its peers by one of them, has to name it, to Postfix too
    /// (`smtp_bind_address`).
    mxdeliv_source_address: Option<IpAddr> = Some("");
    /// The port of peers' `/mxdeliv`; another than 443 is for tests.
    mxdeliv_peer_port: u16 = Some("443");
    /// The port of peers' SMTP, which `mxdeliv-bridge probe` tries; another than 25 is for tests.
    mxdeliv_peer_smtp_port: u16 = Some("25");
    /// The certificate authorities that vouch for peers (a PEM file).
    mxdeliv_authorities: PathBuf = Some("/etc/ssl/certs/ca-certificates.crt");
    /// Whether mail that comes by `/mxdeliv` may lack its domain's signature: `never`, `ip-match` (when the
    /// client's address is one of the domain's) or `always`. madmail does not sign.
    mxdeliv_accept_unsigned: AcceptUnsigned = Some("ip-match");
    /// The most memory that mxdeliv-bridge holds messages in, for each direction; at least
    /// `max_message_size`.
    mxdeliv_memory: ByteSize = Some("48M");
    /// Requests to `/mxdeliv` that one client address may have open at a time.
    mxdeliv_max_requests_per_client: Positive = Some("64");
    /// Messages of one client address that may be refused in a minute before it has to wait.
    mxdeliv_max_refusals_per_minute: Positive = Some("120");
    /// Where filtermail serves OpenMetrics at /metrics; loopback only. Empty: nowhere.
    filtermail_metrics: Option<SocketAddr> = Some("127.0.0.1:3905");
    /// Where doveauth serves OpenMetrics at /metrics; loopback only. Empty: nowhere.
    doveauth_metrics: Option<SocketAddr> = Some("127.0.0.1:3906");
    /// Where mxdeliv-bridge serves OpenMetrics at /metrics; loopback only. Empty: nowhere.
    mxdeliv_metrics: Option<SocketAddr> = Some("127.0.0.1:3907");

    /// The command that ends a user's sessions when `kick ADDRESS` follows: Dovecot's doveadm, with
    /// options if need be.
    doveadm_command: Words = Some("/usr/bin/doveadm");
    /// With backends: the file of the password by which this host has a backend end a user's sessions (Dovecot's
    /// `doveadm_password` there, port 24245). A front has one that is good for that only. Nobody but root and
    /// the mail user may read it.
    doveadm_password_file: PathBuf = Some("/etc/dovecot/chatmail-doveadm-password");
    /// The certificate authorities that vouch for backends (a PEM file).
    backend_authorities: PathBuf = Some("/etc/ssl/certs/ca-certificates.crt");

    /// The port of a classic relay's outgoing filter. Read for compatibility, not used: see
    /// `filtermail_listen`.
    filtermail_smtp_port: u16 = Some("10080");
    /// The port of a classic relay's incoming filter. Read for compatibility, not used.
    filtermail_smtp_port_incoming: u16 = Some("10081");
    /// The port where a classic relay's outgoing filter hands mail back to Postfix. Read for
    /// compatibility, not used.
    postfix_reinject_port: u16 = Some("10025");
    /// The port where a classic relay's incoming filter hands mail back to Postfix. Read for
    /// compatibility, not used.
    postfix_reinject_port_incoming: u16 = Some("10026");

    /// Whether the relay leaves IPv6 alone.
    disable_ipv6: bool = Some("false");
    /// Address for the certificate authority's notices about certificates.
    acme_email: String = Some("");
    /// Certificate chain and private key that something else on this machine renews.
    tls_external_cert_and_key: Option<CertAndKey> = Some("");
    /// The iroh relay that clients are told of; empty: none, and they use their own default.
    iroh_relay: String = Some("https://{mail_domain}");
    /// The unix socket of a classic relay's TURN credentials service. Asked for calls' credentials when
    /// there is such a socket and no `turn_secret_file`.
    turn_socket_path: PathBuf = Some("/run/chatmail-turn/turn.socket");
    /// The file of the secret that doveauth shares with the TURN server (coturn's `static-auth-secret`), from
    /// which it computes credentials for calls. Empty: it asks `turn_socket_path`.
    turn_secret_file: Option<PathBuf> = Some("");
    /// The host and port of the TURN server that clients are told of.
    turn_server: HostAndPort = Some("{mail_domain}:3478");
    /// A JSON file with the newest versions of the apps, for clients that ask the relay. Empty: they are
    /// told nothing.
    appversions_file: Option<PathBuf> = Some("");
    /// The file to which Dovecot's push script appends the address of each account that a message was delivered to.
    /// It belongs in a folder of the mail user's, in memory (`/run`).
    new_messages_file: PathBuf = Some("/run/doveauth/new-messages");
    /// The server that wakes apps up: each device token with a new message is posted to it. Empty: nobody
    /// is woken up.
    notification_url: Option<HttpsUrl> = Some("https://notifications.delta.chat/notify");
    /// The certificate authorities that vouch for the server of `notification_url` (a PEM file).
    notification_authorities: PathBuf = Some("/etc/ssl/certs/ca-certificates.crt");
    /// The file of the notifications that have not been sent yet (SQLite). It belongs to doveauth.
    notification_queue_path: PathBuf = Some("/var/lib/chatmail/notifications.sqlite");
    /// The host name of the relay's servers, to which its MX record points, for autoconfig and MTA-STS.
    /// Empty: `mail_domain`.
    mail_host: Option<Domain> = Some("");
    /// The host names of the relay's other fronts, to which MX records point as well, for MTA-STS; separated by
    /// white space.
    further_mail_hosts: Domains = Some("");
    /// The folder of the operator's own web pages: templates that `mxdeliv-bridge pages` takes in the place of
    /// those of the same name that it brings along. `disabled`: no pages, but what mail programs and
    /// servers read.
    www_folder: String = Some("");
    /// The address that mtail listens on; empty: mtail is not run.
    mtail_address: String = Some("");
    /// Whether Dovecot writes each IMAP session to files in the mailbox. For debugging only: it
    /// records what users do.
    imap_rawlog: bool = Some("false");
    /// Whether Dovecot offers IMAP COMPRESS.
    imap_compress: bool = Some("false");

    /// Postal address of the privacy contact, for the privacy policy.
    privacy_postal: String = Some("");
    /// Mail address of the privacy contact.
    privacy_mail: String = Some("");
    /// Postal address of the data protection officer.
    privacy_pdo: String = Some("");
    /// Postal address of the supervisory authority.
    privacy_supervisor: String = Some("");
}
