//! Where a relay keeps what, below its own folder.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::host::users::{BRIDGE_USER, FILTER_USER, MAIL_USER, Owner};

/// The folders of one relay. Names are short: unix sockets lie among them.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout below `root`.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The relay's own folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Configuration, certificate and key.
    pub fn etc(&self) -> PathBuf {
        self.root.join("etc")
    }

    /// The configuration of our daemons.
    pub fn chatmail_ini(&self) -> PathBuf {
        self.etc().join("chatmail.ini")
    }

    /// The relay's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.etc().join("certificate.pem")
    }

    /// The certificate's private key.
    pub fn key(&self) -> PathBuf {
        self.etc().join("key.pem")
    }

    /// Postfix's configuration folder.
    pub fn postfix_etc(&self) -> PathBuf {
        self.etc().join("postfix")
    }

    /// Postfix's queue, where most of it is locked up.
    pub fn queue(&self) -> PathBuf {
        self.root.join("queue")
    }

    /// Postfix's caches.
    pub fn postfix_data(&self) -> PathBuf {
        self.root.join("postfix")
    }

    /// Dovecot's configuration file.
    pub fn dovecot_conf(&self) -> PathBuf {
        self.etc().join("dovecot.conf")
    }

    /// The password of this host for backends; of a backend, also that of the others.
    pub fn doveadm_password(&self) -> PathBuf {
        self.etc().join("doveadm-password")
    }

    /// By what a backend knows fronts.
    pub fn sessions_password(&self) -> PathBuf {
        self.etc().join("sessions-password")
    }

    /// How Dovecot 2.3 asks doveauth.
    pub fn auth_conf(&self) -> PathBuf {
        self.etc().join("auth.conf")
    }

    /// How Dovecot 2.4 does.
    pub fn auth_script(&self) -> PathBuf {
        self.etc().join("auth.lua")
    }

    /// What tells doveauth of new messages.
    pub fn push_script(&self) -> PathBuf {
        self.etc().join("push_notification.lua")
    }

    /// Dovecot's sockets.
    pub fn dovecot_base(&self) -> PathBuf {
        self.root.join("dovecot")
    }

    /// What Dovecot remembers between starts.
    pub fn dovecot_state(&self) -> PathBuf {
        self.root.join("dovecot-state")
    }

    /// Sockets and pid files of our daemons.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The pid file that the supervisor writes for one of our daemons.
    pub fn pidfile(&self, daemon: &str) -> PathBuf {
        self.run().join(format!("{daemon}.pid"))
    }

    /// The socket of one of filtermail's milters, inside Postfix's chroot.
    pub fn milter_socket(&self, name: &str) -> PathBuf {
        self.queue().join("filtermail").join(format!("{name}.sock"))
    }

    /// The bridge's sockets inside Postfix's chroot.
    pub fn bridge_queue(&self) -> PathBuf {
        self.queue().join("mxdeliv")
    }

    /// The bridge's other sockets.
    pub fn bridge_run(&self) -> PathBuf {
        self.root.join("mxdeliv")
    }

    /// What the bridge knows of peers.
    pub fn bridge_database(&self) -> PathBuf {
        self.root.join("peers/peers.sqlite")
    }

    /// Dovecot's LMTP socket for the bridge.
    pub fn dovecot_lmtp(&self) -> PathBuf {
        self.dovecot_base().join("lmtp")
    }

    /// nginx's configuration file.
    pub fn nginx_conf(&self) -> PathBuf {
        self.etc().join("nginx.conf")
    }

    /// The header fields of web pages, for nginx.
    pub fn page_headers(&self) -> PathBuf {
        self.etc().join("page-headers.conf")
    }

    /// The way through nginx to iroh-relay, on a relay with calls.
    pub fn iroh_locations(&self) -> PathBuf {
        self.etc().join("nginx-iroh-relay.conf")
    }

    /// nginx's server without TLS, on a relay with calls.
    pub fn plain_http(&self) -> PathBuf {
        self.etc().join("nginx-plain-http.conf")
    }

    /// iroh-relay's configuration file, on a relay with calls.
    pub fn iroh_relay_toml(&self) -> PathBuf {
        self.etc().join("iroh-relay.toml")
    }

    /// The secret from which doveauth computes credentials for calls.
    pub fn turn_secret(&self) -> PathBuf {
        self.etc().join("turn-secret")
    }

    /// coturn's configuration file, which holds the same secret.
    pub fn turnserver_conf(&self) -> PathBuf {
        self.etc().join("turnserver.conf")
    }

    /// coturn's own folder, on a relay with calls.
    pub fn coturn(&self) -> PathBuf {
        self.root.join("coturn")
    }

    /// The web pages.
    pub fn pages(&self) -> PathBuf {
        self.root.join("www")
    }

    /// What nginx keeps of large requests.
    pub fn nginx_temp(&self) -> PathBuf {
        self.root.join("nginx")
    }

    /// The keys that mail is signed with, for filtermail alone.
    pub fn dkim_keys(&self) -> PathBuf {
        self.root.join("dkim")
    }

    /// OpenDKIM's configuration and key, on a relay that has it.
    pub fn opendkim(&self) -> PathBuf {
        self.root.join("opendkim")
    }

    /// The relay's small tables.
    pub fn database(&self) -> PathBuf {
        self.root.join("tables/chatmail.sqlite")
    }

    /// The notifications that wait to be sent.
    pub fn notifications(&self) -> PathBuf {
        self.root.join("tables/notifications.sqlite")
    }

    /// What Dovecot has delivered, for doveauth.
    pub fn new_messages(&self) -> PathBuf {
        self.run().join("new-messages")
    }

    /// The log file of `postfix`, `dovecot` or a daemon.
    pub fn log(&self, process: &str) -> PathBuf {
        self.root.join("log").join(format!("{process}.log"))
    }

    /// The mailboxes, unless the configuration says otherwise.
    pub fn mailboxes(&self) -> PathBuf {
        self.root.join("mail")
    }

    /// Makes all folders, with the owners and modes that their users insist on.
    ///
    /// # Errors
    /// A user is missing, or a folder cannot be made.
    pub fn create(&self, mailboxes: &Path) -> anyhow::Result<()> {
        let postfix = Owner::of("postfix")?;
        let mail = Owner::of(MAIL_USER)?;
        make(&self.root, 0o755, Owner::ROOT)?;
        for folder in [
            self.etc(),
            self.root.join("log"),
            self.dovecot_base(),
            self.dovecot_state(),
        ] {
            make(&folder, 0o755, Owner::ROOT)?;
        }
        make(&self.postfix_etc(), 0o755, Owner::ROOT)?;
        make(&self.postfix_data(), 0o700, postfix)?;
        make(&self.run(), 0o755, mail)?;
        make(&self.dkim_keys(), 0o700, Owner::of(FILTER_USER)?)?;
        make(&self.root.join("tables"), 0o700, mail)?;
        let bridge = Owner::of(BRIDGE_USER)?;
        make(&self.bridge_run(), 0o755, bridge)?;
        make(&self.root.join("peers"), 0o700, bridge)?;
        make(&self.nginx_temp(), 0o755, Owner::ROOT)?;
        if let Some(parent) = mailboxes.parent() {
            fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        }
        make(mailboxes, 0o700, mail)?;
        self.create_queue(postfix)
    }

    /// Postfix's own `postfix check` makes these too, but takes two seconds over it.
    fn create_queue(&self, postfix: Owner) -> anyhow::Result<()> {
        let queue = self.queue();
        make(&queue, 0o755, Owner::ROOT)?;
        let postfix_only = Owner {
            gid: Owner::ROOT.gid,
            ..postfix
        };
        for folder in [
            "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
            "private", "saved", "trace",
        ] {
            make(&queue.join(folder), 0o700, postfix_only)?;
        }
        let with_postdrop = postfix.with_group("postdrop")?;
        make(&queue.join("maildrop"), 0o730, with_postdrop)?;
        make(&queue.join("public"), 0o710, with_postdrop)?;
        make(&queue.join("pid"), 0o755, Owner::ROOT)?;
        // The milter's socket gets this folder's group, which lets Postfix in and nobody else.
        let filter = Owner::of(FILTER_USER)?.with_group("postfix")?;
        make(&queue.join("filtermail"), 0o2750, filter)?;
        // So do the bridge's sockets, and the links to one of them that it makes for peers.
        let bridge = Owner::of(BRIDGE_USER)?.with_group("postfix")?;
        make(&self.bridge_queue(), 0o2750, bridge)?;
        make(&self.bridge_queue().join("peers"), 0o2750, bridge)?;

        // What the resolver and name services of a locked-up process look for.
        make(&queue.join("etc"), 0o755, Owner::ROOT)?;
        for file in ["hosts", "services", "nsswitch.conf", "localtime"] {
            let original = Path::new("/etc").join(file);
            if original.exists() {
                fs::copy(&original, queue.join("etc").join(file))
                    .with_context(|| format!("copying {}", original.display()))?;
            }
        }
        Ok(())
    }
}

/// Makes a folder.
pub(super) fn make(folder: &Path, mode: u32, owner: Owner) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let context = || format!("making {}", folder.display());
    match fs::DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(context);
        }
        _ => {}
    }
    owner.own(folder)?;
    // Once more: the umask has its say at creation, and a change of owner clears the set-group-id bit.
    fs::set_permissions(folder, fs::Permissions::from_mode(mode)).with_context(context)
}
