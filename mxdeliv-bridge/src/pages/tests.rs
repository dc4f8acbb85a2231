use std::fs;

use rstest::rstest;
use tempfile::TempDir;

use super::*;

fn config(settings: &str) -> Config {
    let text = format!("[params]\n{settings}\n");
    Config::parse(&text, Path::new("chatmail.ini")).unwrap().0
}

/// The pages of a relay, in a folder of their own.
struct Pages {
    folder: TempDir,
    rendered: Rendered,
}

impl Pages {
    fn of(settings: &str) -> Self {
        Self::with(settings, None).unwrap()
    }

    fn with(settings: &str, overrides: Option<&Path>) -> Result<Self, PagesError> {
        let folder = tempfile::tempdir().unwrap();
        let rendered = render(&config(settings), folder.path(), overrides)?;
        Ok(Self { folder, rendered })
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Without tags, and in one line.
    fn words(&self, name: &str) -> String {
        let text = self.text(name);
        let mut words = String::new();
        for piece in text.split('<') {
            words.push_str(piece.split_once('>').map_or(piece, |(_, after)| after));
        }
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn warnings(&self) -> String {
        self.rendered.warnings.join("\n")
    }
}

/// A template of the operator's.
fn template(name: &str, text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), text).unwrap();
    folder
}

fn error(name: &str, text: &str) -> String {
    let folder = template(name, text);
    let error = Pages::with("mail_domain = chat.example", Some(folder.path()))
        .err()
        .unwrap()
        .to_string();
    let (place, rest) = error.split_once(&name.to_owned()).unwrap();
    assert_eq!(Path::new(place), folder.path().join(""), "{error}");
    rest.to_owned()
}

const OPERATOR: &str = "\
privacy_postal = Ada Example, 1 Main Street
privacy_mail = ada@post.example
privacy_pdo = Bob Example, 2 Main Street
privacy_supervisor = The Authority, 3 Main Street";

#[test]
fn every_limit_is_told() {
    let pages = Pages::of(
        "mail_domain = chat.example\nmax_user_send_per_minute = 1001\nmax_user_send_burst_size = 1002\n\
         max_user_recipients_per_minute = 1003\nmax_mailbox_size = 1004M\nmax_message_size = 1005k\n\
         delete_mails_after = 1006\ndelete_large_after = 1007\ndelete_inactive_users_after = 1008\n\
         tombstone_days = 1009\nusername_min_length = 11\nusername_max_length = 12\n\
         password_min_length = 13",
    );
    let words = pages.words("info.html");
    for told in [
        "1001 a minute",
        "1002 at once",
        "1003 a minute",
        "1004 MB",
        "1005 kB",
        "1006 days after it has arrived",
        "1007 days after it has arrived",
        "1008 days after it was last used",
        "1009 days after that, nobody can have its address",
        "11 to 12 characters",
        "at least 13.",
        "Encrypted is all that passes",
    ] {
        assert!(words.contains(told), "{told}: {words}");
    }
    let words = pages.words("privacy.html");
    for told in ["1006 days", "1008 days", "1009 days"] {
        assert!(words.contains(told), "{told}: {words}");
    }
    assert!(pages.words("index.html").contains("1006 days at most"));
}

#[test]
fn what_is_switched_off_is_not_told() {
    let pages =
        Pages::of("mail_domain = chat.example\ntombstone_days = 0\nusername_min_length = 9");
    assert!(!pages.words("info.html").contains("nobody can have"));
    assert!(!pages.words("privacy.html").contains("salted hash"));
    assert!(pages.words("info.html").contains("9 characters"));
}

#[test]
fn the_operator_is_named() {
    let pages = Pages::of(&format!("mail_domain = chat.example\n{OPERATOR}"));
    let words = pages.words("privacy.html");
    for told in [
        "1 Main Street",
        "2 Main Street",
        "3 Main Street",
        "ada@post.example",
    ] {
        assert!(words.contains(told), "{told}: {words}");
    }
    assert!(!words.contains("has not said"), "{words}");
    let mailto = "<a href=\"mailto:ada@post.example\">";
    assert!(pages.text("privacy.html").contains(mailto));
    assert_eq!(pages.warnings(), "");
}

#[rstest]
#[case("", "privacy_postal and privacy_mail", "has not said who they are")]
#[case("privacy_postal = x", ": privacy_mail in", "how to write to them")]
#[case("privacy_mail = x@y.org", ": privacy_postal in", "where they are")]
fn an_operator_who_hides_is_told_of(
    #[case] settings: &str,
    #[case] warning: &str,
    #[case] said: &str,
) {
    let pages = Pages::of(&format!("mail_domain = chat.example\n{settings}"));
    assert!(pages.warnings().contains(warning), "{}", pages.warnings());
    let words = pages.words("privacy.html");
    assert!(words.contains(said), "{words}");
}

#[test]
fn what_the_operator_writes_is_text_and_no_markup() {
    const HOSTILE: &str = "\"'><script>alert(1)</script>{{ link }}{% raw %}&amp;";
    let keys = [
        "privacy_postal",
        "privacy_mail",
        "privacy_pdo",
        "privacy_supervisor",
    ];
    let settings = keys.map(|key| format!("{key} = {HOSTILE}")).join("\n");
    let pages = Pages::of(&format!("mail_domain = chat.example\n{settings}"));
    let text = pages.text("privacy.html");
    assert!(
        !text.contains("<script") && !text.contains("\"'>"),
        "{text}"
    );
    let escaped = "&lt;script&gt;alert(1)&lt;&#x2f;script&gt;{{ link }}{% raw %}&amp;amp;";
    let shown = text.matches(escaped).count();
    assert_eq!(shown, keys.len(), "{text}");
    assert!(!text.contains("mailto:"), "no address, no link: {text}");
}

#[rstest]
#[case("chat.example", "dcaccount:https://chat.example/new", false)]
#[case("_chat.example", "https://_chat.example/new", true)]
#[case("192.0.2.1", "https://192.0.2.1/new", true)]
fn the_link_is_what_works_there(
    #[case] domain: &str,
    #[case] link: &str,
    #[case] self_signed: bool,
) {
    let pages = Pages::of(&format!("mail_domain = {domain}"));
    let index = pages.text("index.html");
    let escaped = link.replace('/', "&#x2f;");
    assert_eq!(
        index.matches(&format!("href=\"{escaped}\"")).count(),
        2,
        "{index}"
    );
    let code = qr_code::svg(link).unwrap();
    assert!(index.contains(&code), "not the code of {link}: {index}");
    assert_eq!(index.contains("your browser may warn"), self_signed);

    let policy = pages.text(".well-known/mta-sts.txt");
    let expected = if self_signed {
        "version: STSv1\nmode: none\nmax_age: 2419200\n".to_owned()
    } else {
        format!("version: STSv1\nmode: enforce\nmx: {domain}\nmax_age: 2419200\n")
    };
    assert_eq!(policy, expected);
    let servers = pages.text(".well-known/autoconfig/mail/config-v1.1.xml");
    let hostname = format!("<hostname>{domain}</hostname>");
    assert_eq!(servers.matches(&hostname).count(), 4, "{servers}");
}

#[test]
fn pages_load_nothing_from_elsewhere() {
    let pages = Pages::of(&format!("mail_domain = chat.example\n{OPERATOR}"));
    for name in ["index.html", "info.html", "privacy.html", "404.html"] {
        let text = pages.text(name);
        for word in [
            "<script", "<style", " style=", " on", "<form", "<iframe", "@import",
        ] {
            let tags = text.split('<').skip(1);
            let mut tags = tags.map(|tag| format!("<{}", tag.split('>').next().unwrap()));
            assert!(!tags.any(|tag| tag.contains(word)), "{word} in {name}");
        }
        for source in text.split(" src=\"").skip(1) {
            assert!(source.starts_with('/') && !source.starts_with("//"));
        }
        assert!(text.len() < 20_000, "{name} has {} octets", text.len());
    }
    let style = pages.text("style.css");
    assert!(!style.contains("url(") && !style.contains("@import"));
}

#[test]
fn a_template_of_the_operators_takes_the_place_of_ours() {
    let folder = template(
        "index.html",
        "<p>{{ mail_domain }}: {{ delete_mails_after | days }}</p>\n",
    );
    let pages = Pages::with("mail_domain = chat.example", Some(folder.path())).unwrap();
    assert_eq!(pages.text("index.html"), "<p>chat.example: 20 days</p>\n");
    assert!(pages.text("info.html").contains("<main"));

    // So does one of `www_folder`, unless another folder is named.
    let ini = format!(
        "mail_domain = chat.example\nwww_folder = {}",
        folder.path().display()
    );
    assert_eq!(
        Pages::of(&ini).text("index.html"),
        "<p>chat.example: 20 days</p>\n"
    );
    let other = template("layout.html", "{% block content %}{% endblock %}");
    let pages = Pages::with(&ini, Some(other.path())).unwrap();
    assert!(pages.text("index.html").contains("give nothing away"));
    assert!(!pages.text("index.html").contains("<html"));
}

#[test]
fn a_folder_without_templates_is_a_warning_and_a_missing_one_an_error() {
    let folder = template("index.md", "# Hello");
    let pages = Pages::with("mail_domain = chat.example", Some(folder.path())).unwrap();
    let warnings = pages.warnings();
    assert!(
        warnings.contains("holds no template: none of layout.html,"),
        "{warnings}"
    );
    let missing = folder.path().join("missing");
    let error = Pages::with("mail_domain = chat.example", Some(&missing)).err();
    let text = error.unwrap().to_string();
    assert!(
        text.starts_with(&format!("cannot read {}", missing.display())),
        "{text}"
    );
}

#[rstest]
#[case("index.html", "a\n\n{{ mail_domian }}\n", ", line 3: undefined value")]
#[case("index.html", "a\n{% if %}\n", ", line 2: syntax error")]
#[case("index.html", "a\n{{ 1 | shout }}\n", ", line 2: unknown filter")]
#[case("layout.html", "a\n{{ nobody }}\n", ", line 2: undefined value")]
#[case(
    "style.css",
    "a\n{% if nobody %}{% endif %}",
    ", line 2: undefined value"
)]
fn an_error_in_a_template_names_file_and_line(
    #[case] name: &str,
    #[case] text: &str,
    #[case] complaint: &str,
) {
    let rest = error(name, text);
    assert!(rest.starts_with(complaint), "{rest}");
}

#[test]
fn nothing_is_written_unless_all_can_be() {
    let templates = template("privacy.html", "{{ nobody }}");
    let folder = tempfile::tempdir().unwrap();
    let config = config("mail_domain = chat.example");
    render(&config, folder.path(), Some(templates.path())).unwrap_err();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_has_not_changed_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let first = render(&config("mail_domain = chat.example"), path, None).unwrap();
    assert_eq!((first.written.len(), first.unchanged), (8, 0));
    fs::write(path.join("mine.html"), "mine").unwrap();
    let again = render(&config("mail_domain = chat.example"), path, None).unwrap();
    assert_eq!((again.written.len(), again.unchanged), (0, 8));
    let changed = "mail_domain = chat.example\nmax_user_send_per_minute = 61";
    let changed = render(&config(changed), path, None).unwrap();
    assert_eq!(changed.written, [path.join("info.html")]);
    // And nothing of ours is left over.
    let mut names: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        ".well-known",
        "404.html",
        "icon.svg",
        "index.html",
        "info.html",
        "mine.html",
        "privacy.html",
        "style.css",
    ];
    assert_eq!(names, expected);
}

#[test]
fn without_pages_there_is_what_programs_read() {
    let pages = Pages::of("mail_domain = chat.example\nwww_folder = disabled");
    assert_eq!(pages.rendered.written.len(), 2);
    assert!(pages.text(".well-known/mta-sts.txt").contains("enforce"));
    assert!(!pages.folder.path().join("index.html").exists());
}

#[test]
fn servers_have_the_name_that_the_mx_record_has() {
    let policy = ".well-known/mta-sts.txt";
    let autoconfig = ".well-known/autoconfig/mail/config-v1.1.xml";
    let same = Pages::of("mail_domain = chat.example");
    assert!(same.text(policy).contains("\nmx: chat.example\n"));
    let other = Pages::of("mail_domain = chat.example\nmail_host = mx.chat.example");
    assert!(other.text(policy).contains("\nmx: mx.chat.example\n"));
    let autoconfig = other.text(autoconfig);
    assert_eq!(autoconfig.matches("<hostname>mx.chat.example<").count(), 4);
    assert!(autoconfig.contains("<domain>chat.example</domain>"));
}

#[test]
fn all_fronts_say_the_same_of_where_mail_goes() {
    let front = |own: &str, other: &str| {
        let text =
            format!("mail_domain = chat.example\nmail_host = {own}\nfurther_mail_hosts = {other}");
        Pages::of(&text).text(".well-known/mta-sts.txt")
    };
    let policy = front("b.chat.example", "c.example a.chat.example");
    assert!(
        policy.contains("\nmx: a.chat.example\nmx: b.chat.example\nmx: c.example\nmax_age"),
        "{policy}"
    );
    assert_eq!(policy, front("c.example", "b.chat.example a.chat.example"));
}

#[rstest]
#[case("open", "The button opens Delta Chat")]
#[case("closed", "New profiles are not given out here")]
#[case("invite", "Profiles here are by invite")]
fn the_first_page_says_who_may_have_a_profile(#[case] registration: &str, #[case] words: &str) {
    let settings = format!("mail_domain = chat.example\nregistration = {registration}");
    let pages = Pages::of(&settings);
    let shown = pages.words("index.html");
    assert!(shown.contains(words), "{shown}");
    // There is a link, and a QR code, only where everybody may follow it.
    let links = pages.text("index.html").matches("\"dcaccount:").count();
    assert_eq!(links > 0, registration == "open", "{links} links");
}
