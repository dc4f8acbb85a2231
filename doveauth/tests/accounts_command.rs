//! `doveauth accounts` and `doveauth invites` as an operator runs them, beside a daemon. Dovecot's doveadm is played
//! by a script here, which does on demand what the real one cannot be made to; the end-to-end tests have the real one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each program uses a part of it")]
mod common;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::process::{Output, Stdio};

use common::{Relay, Store};
use rstest::rstest;
use serde_json::{Value, json};

const LOGIN: &str = "Lshared/passdb/a password\"bob@x.org\tbob@x.org";

fn ended(output: &Output, status: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{out}{err}");
    (out, err)
}

fn run(relay: &Relay, status: i32, arguments: &[&str]) -> (String, String) {
    ended(&relay.command(arguments).output().unwrap(), status)
}

fn lines(relay: &Relay, status: i32, arguments: &[&str]) -> Vec<Value> {
    let (out, _) = run(relay, status, &[arguments, &["--json"]].concat());
    out.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn with_input(relay: &Relay, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = relay
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may not want to read it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// A relay whose doveadm notes what it is asked to do, and ends as the file `status` says. Where that is with success it finds
/// nobody the next time.
fn relay(settings: &str) -> Relay {
    relay_on(Store::Files, settings)
}

fn relay_on(store: Store, settings: &str) -> Relay {
    let relay = Relay::on(store, settings);
    let folder = relay.path("doveadm");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("status"), "0\n").unwrap();
    let script = folder.join("doveadm");
    let text = "#!/bin/sh\ncd \"${0%/*}\" || exit 1\necho \"$@\" >> asked\n\
        echo \"trouble with $3\" >&2\nread status < status\n\
        [ \"$status\" = 0 ] && [ $(($(wc -l < asked) % 2)) = 0 ] && exit 68\nexit \"$status\"\n";
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let file = relay.path("chatmail.ini");
    let settings = fs::read_to_string(&file).unwrap();
    let doveadm = format!("doveadm_command = {} -v\n", script.display());
    fs::write(file, settings + &doveadm).unwrap();
    relay
}

fn asked(relay: &Relay) -> String {
    let file = relay.path("doveadm/asked");
    let asked = fs::read_to_string(&file).unwrap_or_default();
    let _ = fs::remove_file(file);
    asked
}

#[rstest]
#[tokio::test]
async fn what_is_changed_holds_for_the_running_daemon(
    #[values(Store::Files, Store::Postgres)] store: Store,
) {
    let relay = relay_on(store, "");
    let mut dovecot = relay.connect("auth").await;
    let userdb = "Lshared/userdb/bob@x.org\tbob@x.org";
    let policy = "Lshared/policy/bob@x.org\t";
    let first = dovecot.ask(LOGIN).await;
    assert!(first.starts_with('O'));

    let blocked = lines(&relay, 0, &["accounts", "block", "Bob@X.org"]);
    let report = |outcome, sessions| json!({ "address": "bob@x.org", "outcome": outcome, "sessions": sessions });
    assert_eq!(blocked, [report("blocked", "ended")]);
    assert_eq!(asked(&relay), "-v kick bob@x.org\n".repeat(2));
    assert_eq!(dovecot.ask(LOGIN).await, "N");
    assert_eq!(dovecot.ask(userdb).await, "N");
    let answer = dovecot_policy(&relay, policy).await;
    assert_eq!(
        (&answer["exists"], &answer["blocked"]),
        (&json!(true), &json!(true))
    );

    let (out, _) = run(&relay, 0, &["accounts", "unblock", "bob@x.org"]);
    assert_eq!(out, "unblocked bob@x.org\n");
    assert_eq!(asked(&relay), "");
    assert_eq!(dovecot.ask(LOGIN).await, first);
    assert_eq!(dovecot_policy(&relay, policy).await["blocked"], false);

    let changed = lines(&relay, 0, &["accounts", "passwd", "bob@x.org"]);
    assert!(changed[0]["password"].as_str().unwrap().len() >= 20);
    let second = dovecot.ask(LOGIN).await;
    assert_ne!(second, first);

    let deleted = lines(&relay, 0, &["accounts", "delete", "bob@x.org"]);
    assert_eq!(deleted, [report("deleted", "ended")]);
    assert_eq!(dovecot.ask(userdb).await, "N");
    assert!(!relay.path("mail/bob@x.org").exists());
    // Nobody else gets the address by asking for it.
    assert_eq!(dovecot.ask(LOGIN).await, "N");
    let gone = lines(&relay, 1, &["accounts", "delete", "bob@x.org"]);
    assert_eq!(
        gone,
        [json!({ "address": "bob@x.org", "outcome": "missing" })]
    );
}

async fn dovecot_policy(relay: &Relay, line: &str) -> Value {
    let reply = relay.ask("policy", format!("{line}\n").as_bytes()).await;
    serde_json::from_str(reply.strip_prefix('O').unwrap()).unwrap()
}

#[rstest]
#[case("68", "none", "")]
#[case("75", "unknown", "exit status: 75: trouble with (address)")]
#[tokio::test]
async fn sessions_that_are_not_ended_are_told_and_no_error(
    #[case] status: &str,
    #[case] sessions: &str,
    #[case] warning: &str,
    #[values(Store::Files, Store::Postgres)] store: Store,
) {
    let relay = relay_on(store, "");
    relay.ask("auth", format!("{LOGIN}\n").as_bytes()).await;
    fs::write(relay.path("doveadm/status"), format!("{status}\n")).unwrap();
    for command in ["block", "passwd", "delete"] {
        let output = relay.command(&["accounts", command, "--json", "bob@x.org"]);
        let (out, err) = ended(&{ output }.output().unwrap(), 0);
        let line: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(line["sessions"], sessions, "{command}");
        assert!(
            err.contains(warning) && err.is_empty() == warning.is_empty(),
            "{err}"
        );
        assert!(!err.contains("bob@"), "{err}");
    }
}

#[tokio::test]
async fn a_session_in_a_process_with_others_is_ended_by_force_and_a_doveadm_that_hangs_is_told() {
    let relay = relay("");
    relay.ask("auth", format!("{LOGIN}\n").as_bytes()).await;
    // As doveadm 2.3 has it, which ends nothing then and calls that a success.
    let script = "#!/bin/sh\ncd \"${0%/*}\" || exit 1\necho \"$@\" >> asked\n\
        [ \"$3\" = -f ] && { echo gone > gone; exit 0; }\n[ -e gone ] && exit 68\n\
        echo \"Use the '-f' option to enforce the disconnect.\"\n";
    let doveadm = relay.path("doveadm/doveadm");
    fs::write(&doveadm, script).unwrap();
    let blocked = lines(&relay, 0, &["accounts", "block", "bob@x.org"]);
    assert_eq!(blocked[0]["sessions"], "ended");
    let kick = "-v kick bob@x.org\n";
    assert_eq!(asked(&relay), format!("{kick}-v kick -f bob@x.org\n{kick}"));

    fs::write(&doveadm, "#!/bin/sh\nexec sleep 600\n").unwrap();
    let (out, err) = run(&relay, 0, &["accounts", "block", "bob@x.org"]);
    assert_eq!(out, "unchanged bob@x.org\n");
    assert!(err.contains("no answer within 10 seconds"), "{err}");
}

#[rstest]
#[tokio::test]
async fn without_doveadm_accounts_can_be_changed_too(
    #[values(Store::Files, Store::Postgres)] store: Store,
) {
    let relay = Relay::on(store, "doveadm_command = /nonexistent/doveadm");
    relay.ask("auth", format!("{LOGIN}\n").as_bytes()).await;
    let (out, err) = run(&relay, 0, &["accounts", "block", "bob@x.org"]);
    assert_eq!(out, "blocked bob@x.org\n");
    assert!(err.contains("/nonexistent/doveadm"), "{err}");
}

#[tokio::test]
async fn accounts_are_listed_and_shown() {
    let relay = relay("max_mailbox_size = 1000");
    for name in ["bob", "eve"] {
        run(&relay, 0, &["accounts", "create", &format!("{name}@x.org")]);
    }
    fs::create_dir(relay.path("mail/old@x.org")).unwrap();
    fs::write(relay.path("mail/old@x.org/password"), "").unwrap();
    fs::write(relay.path("mail/bob@x.org/maildirsize"), "1000S\n70 2\n").unwrap();
    run(&relay, 0, &["accounts", "block", "eve@x.org"]);

    let (out, _) = run(&relay, 0, &["accounts", "list"]);
    let mut plain: Vec<_> = out.lines().collect();
    plain.sort_unstable();
    assert_eq!(plain, ["bob@x.org", "eve@x.org", "old@x.org"]);
    let listed = lines(&relay, 0, &["accounts", "list"]);
    let state = |name: &str| {
        let line = listed.iter().find(|line| line["address"] == name).unwrap();
        assert!(line["last_login"].as_str().unwrap().starts_with("20"));
        line["state"].clone()
    };
    assert_eq!(state("bob@x.org"), "active");
    assert_eq!(state("eve@x.org"), "blocked");
    assert_eq!(state("old@x.org"), "locked");

    let shown = lines(&relay, 0, &["accounts", "show", "bob@x.org"]);
    let day = &shown[0]["last_login"];
    let expected = json!({
        "address": "bob@x.org", "state": "active", "last_login": day,
        "cleartext": false, "bytes_used": 70, "bytes_max": 1000,
    });
    assert_eq!(shown, [expected]);
    let (out, _) = run(&relay, 0, &["accounts", "show", "bob@x.org"]);
    assert!(
        out.contains("state: active\n") && out.contains("bytes_used: 70\n"),
        "{out}"
    );
    let (out, _) = run(&relay, 1, &["accounts", "show", "nobody@x.org"]);
    assert_eq!(out, "missing nobody@x.org\n");
}

#[tokio::test]
async fn passwords_come_from_standard_input_if_they_are_to() {
    let relay = relay("");
    let create = ["accounts", "create", "--stdin", "bob@x.org"];
    let output = with_input(&relay, &create, b"a given password\r\nmore\n");
    assert_eq!(ended(&output, 0).0, "created bob@x.org a given password\n");
    let output = with_input(&relay, &create, b"a given password\n");
    assert_eq!(ended(&output, 1).0, "exists bob@x.org\n");
    let file = relay.path("mail/bob@x.org/password");
    let before = fs::read(&file).unwrap();

    let passwd = ["accounts", "passwd", "--stdin", "bob@x.org"];
    for (input, reason) in [
        (&b"short\n"[..], "password too short"),
        (b"", "holds no password"),
        (b"\n", "holds no password"),
        (&[b'x'; 600], "cannot be hashed"),
    ] {
        let (out, err) = ended(&with_input(&relay, &passwd, input), 2);
        assert!(out.is_empty() && err.contains(reason), "{err}");
        assert!(err.ends_with("nothing was changed\n"), "{err}");
        assert_eq!(fs::read(&file).unwrap(), before);
    }
    let output = with_input(&relay, &passwd, b"another password");
    // It is not repeated to whoever knows it.
    assert_eq!(ended(&output, 0).0, "changed bob@x.org\n");
    assert_ne!(fs::read(&file).unwrap(), before);
}

#[rstest]
#[case(&["accounts", "create", "bob@y.org"], "foreign domain")]
#[case(&["accounts", "create", "b..b@x.org"], "name not allowed")]
#[case(&["accounts", "create", "bob"], "local@domain")]
#[case(&["accounts", "block"], "ADDRESS")]
#[case(&["accounts", "delete", "../x"], "local@domain")]
#[case(&["invites", "create", "--uses", "0"], "--uses")]
#[case(&["invites", "create", "--expires", "0d"], "30d")]
#[case(&["invites", "create", "--note", "two\nlines"], "--note")]
#[case(&["invites", "revoke", "nonsense!"], "id of an invite")]
#[case(&["invites", "revoke"], "INVITE")]
#[tokio::test]
async fn what_is_wrong_changes_nothing(#[case] arguments: &[&str], #[case] reason: &str) {
    let relay = relay("");
    let (out, err) = run(&relay, 2, arguments);
    assert!(out.is_empty() && err.contains(reason), "{err}");
    assert_eq!(fs::read_dir(relay.path("mail")).unwrap().count(), 0);
    assert!(!relay.path("tables").exists());
}

#[tokio::test]
async fn a_broken_store_is_a_failure() {
    let relay = relay("");
    fs::write(relay.path("mail/bob@x.org"), "a file").unwrap();
    for command in ["show", "block", "unblock", "delete", "passwd", "create"] {
        let (out, err) = run(&relay, 70, &["accounts", command, "bob@x.org"]);
        assert!(
            out.is_empty() && err.contains("account store"),
            "{command}: {err}"
        );
        assert!(!err.contains("bob@"), "{err}");
    }
    fs::remove_dir_all(relay.path("mail")).unwrap();
    let (out, _) = run(&relay, 70, &["accounts", "list"]);
    assert_eq!(out, "");
    assert!(!relay.path("mail").exists());
}

/// What root makes belongs to the mail user: `nobody` here, which every machine has.
#[tokio::test]
async fn root_acts_as_the_mail_user() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: nothing to see");
        return;
    }
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (user, group) = (nobody.uid.as_raw(), nobody.gid.as_raw());
    let relay = relay("");
    let settings = fs::read_to_string(relay.path("chatmail.ini")).unwrap();
    let settings = settings.replace("mail_user = root", "mail_user = nobody");
    fs::write(relay.path("chatmail.ini"), settings).unwrap();
    fs::set_permissions(relay.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    chown(relay.path("mail"), Some(user), Some(group)).unwrap();

    run(&relay, 0, &["accounts", "create", "bob@x.org"]);
    run(&relay, 0, &["accounts", "block", "bob@x.org"]);
    for name in ["", "password", "enforceE2EEincoming"] {
        let found = fs::metadata(relay.path("mail/bob@x.org").join(name)).unwrap();
        assert_eq!((found.uid(), found.gid()), (user, group), "{name}");
    }
    // doveadm needs root's rights.
    let script =
        "#!/bin/sh\ncd \"${0%/*}\" && id -u >> asked && [ $(wc -l < asked) = 1 ] || exit 68\n";
    fs::write(relay.path("doveadm/doveadm"), script).unwrap();
    asked(&relay);
    // A link that the mail user could have made leads nowhere.
    let treasure = relay.path("treasure");
    fs::write(&treasure, "root's").unwrap();
    fs::set_permissions(&treasure, fs::Permissions::from_mode(0o600)).unwrap();
    let password = relay.path("mail/bob@x.org/password");
    fs::remove_file(&password).unwrap();
    std::os::unix::fs::symlink(&treasure, &password).unwrap();
    run(&relay, 70, &["accounts", "block", "bob@x.org"]);
    assert_eq!(fs::read_to_string(&treasure).unwrap(), "root's");
    run(&relay, 0, &["accounts", "delete", "bob@x.org"]);
    assert_eq!(asked(&relay), "0\n".repeat(2));
    assert_eq!(fs::read_to_string(&treasure).unwrap(), "root's");
    assert!(!relay.path("mail/bob@x.org").exists());

    let (_, err) = {
        let mut command = relay.command(&["accounts", "block", "eve@x.org"]);
        use std::os::unix::process::CommandExt as _;
        let output = command.uid(1).gid(1).output().unwrap();
        ended(&output, 70)
    };
    assert!(
        err.contains("run it as root or as mail_user = nobody"),
        "{err}"
    );
}

#[rstest]
#[tokio::test]
async fn an_invite_lets_in_as_many_as_it_says_until_it_is_revoked(
    #[values(Store::Files, Store::Postgres)] store: Store,
) {
    let relay = relay_on(store, "registration = invite");
    let made = lines(
        &relay,
        0,
        &[
            "invites",
            "create",
            "--uses",
            "2",
            "--expires",
            "12h",
            "--note",
            "club",
        ],
    );
    let token = made[0]["token"].as_str().unwrap().to_owned();
    let id = made[0]["id"].as_str().unwrap().to_owned();
    let url = format!("https://x.org/new?t={token}");
    assert_eq!(made[0]["url"], url);
    let listed = |state: &str, left: u32| {
        let found = lines(&relay, 0, &["invites", "list"]);
        let mut expected = made[0].clone();
        let fields = expected.as_object_mut().unwrap();
        fields.remove("token");
        fields.remove("url");
        fields.insert("state".into(), state.into());
        fields.insert("uses_left".into(), left.into());
        assert_eq!(found, [expected]);
    };
    listed("good", 2);
    let mut dovecot = relay.connect("auth").await;
    let mut login = async |name: &str, password: &str| {
        let line = format!("Lshared/passdb/{password}\"{name}@x.org\"192.0.2.1\t{name}@x.org");
        dovecot.ask(&line).await.starts_with('O')
    };
    assert!(!login("bob", "a password").await);
    assert!(login("bob", &format!("{token}-a password")).await);
    listed("good", 1);
    assert!(login("eve", &format!("{}-a password", token.to_uppercase())).await);
    listed("used-up", 0);
    assert!(!login("joe", &format!("{token}-a password")).await);
    assert!(login("bob", "whatever Dovecot compares").await);

    let (out, _) = run(&relay, 0, &["invites", "list"]);
    let columns: Vec<_> = out.trim_end().split('\t').collect();
    assert_eq!(
        (columns[0], columns[1], columns[2]),
        (id.as_str(), "used-up", "0/2")
    );
    assert_eq!((columns.len(), columns[5]), (6, "club"));
    let (out, _) = run(&relay, 0, &["invites", "revoke", &url]);
    assert_eq!(out, format!("revoked {id}\n"));
    let again = lines(&relay, 1, &["invites", "revoke", &id]);
    assert_eq!(again, [json!({ "id": id, "outcome": "missing" })]);
    assert_eq!(lines(&relay, 0, &["invites", "list"]), [] as [Value; 0]);
}

#[tokio::test]
async fn an_invite_is_printed_as_a_link_and_a_qr_code() {
    let relay = relay("");
    let (out, err) = run(&relay, 0, &["invites", "create", "--expires", "never"]);
    let mut lines = out.lines();
    assert!(lines.next().unwrap().starts_with("https://x.org/new?t="));
    assert!(lines.count() > 10 && out.contains('█'), "{out}");
    assert!(err.contains("registration = invite"), "{err}");
}

#[rstest]
#[tokio::test]
async fn the_policy_dict_tells_whether_accounts_can_be_made(
    #[values(Store::Files, Store::Postgres)] store: Store,
) {
    let relay = relay_on(store, "registration = invite");
    let made = lines(&relay, 0, &["invites", "create"]);
    let token = made[0]["token"].as_str().unwrap();
    let mut bridge = relay.connect("policy").await;
    for (key, answer) in [
        ("-", "O{\"answer\":\"invite_needed\"}"),
        (token, "O{\"answer\":\"invited\"}"),
        ("0123456789abcdefghjk", "O{\"answer\":\"invite_unknown\"}"),
        ("", "N"),
        ("nonsense", "N"),
    ] {
        let line = format!("Lshared/registration/{key}\t");
        assert_eq!(bridge.ask(&line).await, answer, "{key}");
    }
}

#[rstest]
#[case("accounts", &["list", "show", "create", "block", "unblock", "delete", "passwd", "import", "export"])]
#[case("invites", &["list", "create", "revoke"])]
#[tokio::test]
async fn help_teaches_by_examples(#[case] group: &str, #[case] commands: &[&str]) {
    let relay = relay("");
    for command in commands {
        let (help, _) = run(&relay, 0, &[group, command, "--help"]);
        let example = format!("doveauth {group} {command}");
        assert!(
            help.contains(&example) && help.contains("Exit status: 0"),
            "{help}"
        );
    }
}
