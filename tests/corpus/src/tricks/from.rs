//! The From header: an author that two programs read differently.

use filtermail::gate::Rule;

use crate::message::{edit, edit_octets, with_fields};
use crate::trick::{Trick, trick};

pub(super) fn tricks() -> Vec<Trick> {
    [
        fields(),
        several(),
        comments_and_groups(),
        names(),
        encoded_words(),
        addresses(),
    ]
    .concat()
}

/// A good message with another From value.
fn from(value: &str) -> Vec<u8> {
    edit("\"Alice\" <alice@example.org>", value)
}

fn fields() -> Vec<Trick> {
    vec![
        trick(
            Rule::FromRepeated,
            "second-from-on-top",
            "Signed and judged is one author, shown another.",
            edit("From:", "From: <bob@bank.example>\r\nFrom:"),
        ),
        trick(
            Rule::FromRepeated,
            "second-from-at-the-end",
            "The same the other way round.",
            with_fields("From: <bob@bank.example>"),
        ),
        trick(
            Rule::FromRepeated,
            "second-from-in-lower-case",
            "Names are compared with and without case.",
            with_fields("from: <bob@bank.example>"),
        ),
        trick(
            Rule::FromRepeated,
            "same-from-twice",
            "Even equal ones: software that edits one leaves the other.",
            with_fields("From: \"Alice\" <alice@example.org>"),
        ),
        trick(
            Rule::FromRepeated,
            "empty-second-from",
            "An empty author may win.",
            with_fields("From:"),
        ),
        trick(
            Rule::FromMissing,
            "no-from",
            "Programs show the Sender, the Reply-To or the envelope instead.",
            edit("From:", "Sender:"),
        ),
        trick(
            Rule::FromMissing,
            "resent-from-only",
            "Some programs show the one who resent as the author.",
            edit("From:", "Resent-From:"),
        ),
        trick(
            Rule::FromMissing,
            "apparently-from-only",
            "An old stand-in for the author.",
            edit("From:", "X-Apparently-From:"),
        ),
        trick(
            Rule::HeaderSyntax,
            "from-with-a-blank-before-the-colon",
            "A second author for programs that follow RFC 822.",
            with_fields("From : <bob@bank.example>"),
        ),
        trick(
            Rule::HeaderTooLong,
            "from-of-three-kilobytes",
            "Programs cut long fields, each at another place.",
            from(&format!("{}<alice@example.org>", "Alice\r\n ".repeat(300))),
        ),
    ]
}

fn several() -> Vec<Trick> {
    vec![
        trick(
            Rule::FromSeveral,
            "two-authors",
            "Allowed by RFC 5322; one program shows the first, one the last.",
            from("alice@example.org, bob@bank.example"),
        ),
        trick(
            Rule::FromSeveral,
            "two-authors-in-angle-brackets",
            "The same with names.",
            from("Alice <alice@example.org>, Bob <bob@bank.example>"),
        ),
        trick(
            Rule::FromSeveral,
            "unquoted-comma-in-the-name",
            "Two authors by the grammar, one to programs that mean well.",
            from("bob@bank.example, Alice <alice@example.org>"),
        ),
        trick(
            Rule::FromSeveral,
            "empty-list-element-before-the-author",
            "Obsolete syntax allows it; a strict parser stops at the comma.",
            from(", <alice@example.org>"),
        ),
        trick(
            Rule::FromSyntax,
            "two-angle-brackets",
            "The first or the last pair.",
            from("<bob@bank.example> <alice@example.org>"),
        ),
        trick(
            Rule::FromSyntax,
            "nested-angle-brackets",
            "The inner or the outer one.",
            from("<<bob@bank.example>alice@example.org>"),
        ),
        trick(
            Rule::FromSyntax,
            "address-before-the-angle-bracket",
            "Who looks for an address takes the first, who looks for brackets the second.",
            from("bob@bank.example <alice@example.org>"),
        ),
        trick(
            Rule::FromSyntax,
            "address-behind-the-angle-bracket",
            "The same behind it.",
            from("<alice@example.org> bob@bank.example"),
        ),
        trick(
            Rule::FromGroup,
            "semicolon-between-authors",
            "A list separator for users of one large mail program.",
            from("bob@bank.example; alice@example.org"),
        ),
        trick(
            Rule::FromAddress,
            "second-address-in-a-continuation-line",
            "Folded white space parts two addresses, or joins them.",
            from("alice@example.org\r\n bob@bank.example"),
        ),
    ]
}

fn comments_and_groups() -> Vec<Trick> {
    vec![
        trick(
            Rule::FromComment,
            "author-in-a-comment",
            "The old form of a name: shown by some, skipped by others.",
            from("alice@example.org (bob@bank.example)"),
        ),
        trick(
            Rule::FromComment,
            "comment-before-the-address",
            "Careless parsers do not skip it.",
            from("(<bob@bank.example>) alice@example.org"),
        ),
        trick(
            Rule::FromComment,
            "comment-inside-the-address",
            "Legal by RFC 5322, read by few.",
            from("<alice(bob@bank.example)@example.org>"),
        ),
        trick(
            Rule::FromComment,
            "nested-comment",
            "Who does not count brackets goes on too early.",
            from("(a(b) <bob@bank.example>) <alice@example.org>"),
        ),
        trick(
            Rule::FromComment,
            "unclosed-comment",
            "The rest is a comment, or it is not.",
            from("Alice (home <alice@example.org>"),
        ),
        trick(
            Rule::FromGroup,
            "author-in-a-group",
            "A group is no author; some take its member for one.",
            from("Friends: alice@example.org;"),
        ),
        trick(
            Rule::FromGroup,
            "empty-group-as-author",
            "RFC 6854 allows it; the author is nobody.",
            from("Nobody:;"),
        ),
        trick(
            Rule::FromGroup,
            "source-route",
            "RFC 822 route: the address is behind the colon, or before it.",
            from("<@bank.example:alice@example.org>"),
        ),
        trick(
            Rule::FromGroup,
            "source-route-without-brackets",
            "The same without brackets.",
            from("@bank.example:alice@example.org"),
        ),
        trick(
            Rule::FromGroup,
            "colon-in-the-name",
            "The name of a group begins here.",
            from("Re: Alice <alice@example.org>"),
        ),
    ]
}

fn names() -> Vec<Trick> {
    let rule = Rule::FromSyntax;
    vec![
        trick(
            rule,
            "name-without-address",
            "Programs complete it with the local domain.",
            from("Alice"),
        ),
        trick(rule, "empty-from", "Nobody wrote this.", from("")),
        trick(
            rule,
            "brackets-in-the-quoted-name",
            "A search for `<...>` finds bob first; the quotes are overlooked.",
            from("\"Bob <bob@bank.example>\" <alice@example.org>"),
        ),
        trick(
            rule,
            "another-address-as-the-name",
            "A program that shows names only shows bob's address.",
            from("\"bob@bank.example\" <alice@example.org>"),
        ),
        trick(
            rule,
            "another-address-with-blanks-as-the-name",
            "The same with what trimming takes off.",
            from("\" bob@bank.example \" <alice@example.org>"),
        ),
        trick(
            rule,
            "escaped-quote-in-the-name",
            "Who overlooks the backslash ends the name early, and finds bob.",
            from("\"a\\\" <bob@bank.example>, \" <alice@example.org>"),
        ),
        trick(
            rule,
            "unclosed-quote",
            "The rest is a name, or it is not.",
            from("\"Alice <alice@example.org>"),
        ),
        trick(
            rule,
            "backslash-outside-quotes",
            "It escapes the bracket for some.",
            from("Alice \\<bob@bank.example> <alice@example.org>"),
        ),
        trick(
            rule,
            "unclosed-angle-bracket",
            "Programs that repair disagree on where the address ends.",
            from("Alice <alice@example.org"),
        ),
        trick(
            rule,
            "square-brackets-in-the-name",
            "Not legal there; a domain literal to some.",
            from("[bank.example] <alice@example.org>"),
        ),
        trick(
            rule,
            "name-that-reads-backwards",
            "U+202E turns the display around: the address seems to be another.",
            from("\"elpmaxe.knab@bob\u{202E}\" <alice@example.org>"),
        ),
        trick(
            rule,
            "right-to-left-override-in-the-name",
            "The same without any at sign.",
            from("\u{202E}knaB <alice@example.org>"),
        ),
        trick(
            Rule::HeaderControl,
            "latin-1-in-the-name",
            "Octets that are not UTF-8: what comes behind them may be swallowed.",
            edit_octets("\"Alice\"", b"\"Al\xEFce\""),
        ),
        trick(
            Rule::HeaderControl,
            "control-character-in-the-name",
            "A line end to some languages.",
            from("Alice\x0C<bob@bank.example> <alice@example.org>"),
        ),
    ]
}

fn encoded_words() -> Vec<Trick> {
    vec![
        trick(
            Rule::FromAddress,
            "encoded-word-as-the-local-part",
            "Legal characters, but some programs decode them: bob.",
            from("<=?utf-8?q?bob?=@example.org>"),
        ),
        trick(
            Rule::FromAddress,
            "encoded-word-as-a-bare-address",
            "The same without brackets.",
            from("=?utf-8?q?bob?=@example.org"),
        ),
        trick(
            Rule::FromSyntax,
            "encoded-word-hides-an-author",
            "Programs that decode first and parse then see two authors.",
            from("=?utf-8?q?Bob_=3Cbob=40bank.example=3E=2C?= <alice@example.org>"),
        ),
        trick(
            Rule::FromSyntax,
            "encoded-word-hides-an-address",
            "A program that shows names only shows bob's address.",
            from("=?utf-8?q?bob=40bank.example?= <alice@example.org>"),
        ),
        trick(
            Rule::FromSyntax,
            "base64-word-hides-an-author",
            "The same in base64.",
            from("=?utf-8?b?PGJvYkBiYW5rLmV4YW1wbGU+?= <alice@example.org>"),
        ),
        trick(
            Rule::FromSyntax,
            "encoded-word-with-a-line-end",
            "Decoded CRLF makes a new header where decoded values are written again.",
            from("=?utf-8?q?Alice=0D=0AFrom=3A_bob?= <alice@example.org>"),
        ),
        trick(
            Rule::FromSyntax,
            "encoded-word-with-a-nul",
            "The decoded name ends here for programs in C, and so does what they print.",
            from("=?utf-8?q?bob=40bank.example=00?= <alice@example.org>"),
        ),
        trick(
            Rule::FromSyntax,
            "encoded-word-in-utf-7",
            "`+ADw-` is `<` in UTF-7, which no honest program writes.",
            from("=?utf-7?q?+ADw-bob+AEA-bank.example+AD4-?= <alice@example.org>"),
        ),
        trick(
            Rule::FromSyntax,
            "encoded-word-in-utf-16",
            "Every other octet is NUL: no check of octets sees the at sign's neighbours.",
            from("=?utf-16?b?AGIAbwBiAEA=?= <alice@example.org>"),
        ),
        trick(
            Rule::FromSyntax,
            "encoded-word-inside-quotes",
            "Not decoded by the standard, decoded by many.",
            from("\"=?utf-8?q?Bob_=3Cbob=40bank.example=3E?=\" <alice@example.org>"),
        ),
        trick(
            Rule::FromSyntax,
            "encoded-word-cut-in-two",
            "Neighbours are joined when decoded: `bob@` and `bank.example`.",
            from("=?utf-8?q?bob=40?= =?utf-8?q?bank.example?= <alice@example.org>"),
        ),
        trick(
            Rule::FromSyntax,
            "encoded-word-with-broken-encoding",
            "Each program repairs it in another way.",
            from("=?utf-8?b?Ym9i*QGJhbms?= <alice@example.org>"),
        ),
    ]
}

fn addresses() -> Vec<Trick> {
    let rule = Rule::FromAddress;
    vec![
        trick(rule, "empty-address", "Nobody wrote this.", from("<>")),
        trick(
            rule,
            "address-without-domain",
            "Programs complete it with the local domain.",
            from("<alice>"),
        ),
        trick(
            rule,
            "two-at-signs",
            "The domain begins at the first or the last one.",
            from("<bob@bank.example@example.org>"),
        ),
        trick(
            rule,
            "quoted-local-part",
            "Legal, and read differently by nearly everyone.",
            from("<\"alice\"@example.org>"),
        ),
        trick(
            rule,
            "quoted-local-part-with-an-at-sign",
            "bob's address, if the quotes end where careless parsers think.",
            from("<\"bob@bank.example\"@example.org>"),
        ),
        trick(
            rule,
            "blank-in-the-address",
            "Trimmed, refused or kept.",
            from("< alice@example.org>"),
        ),
        trick(
            rule,
            "fold-in-the-address",
            "The domain is on the next line.",
            from("<alice@\r\n example.org>"),
        ),
        trick(
            rule,
            "utf-8-local-part",
            "A letter that looks like another one.",
            from("<\u{430}lice@example.org>"),
        ),
        trick(
            rule,
            "utf-8-domain",
            "A domain that looks like another one.",
            from("<alice@ex\u{430}mple.org>"),
        ),
        trick(
            rule,
            "full-width-at-sign",
            "An at sign after Unicode normalisation.",
            from("<bob\u{FF20}bank.example@example.org>"),
        ),
        trick(
            rule,
            "dot-at-the-end-of-the-domain",
            "The same host, another string: allow-lists compare strings.",
            from("<alice@example.org.>"),
        ),
        trick(
            rule,
            "domain-literal-with-text",
            "Not an IP address, though it has brackets.",
            from("<alice@[example.org]>"),
        ),
        trick(
            rule,
            "percent-hack",
            "A relay of old sends this on to bank.example; the domain is empty here.",
            from("<bob%bank.example@>"),
        ),
        trick(
            rule,
            "domain-that-is-a-number",
            "An IP address without brackets: 127.0.0.1 for whoever resolves it.",
            from("<alice@2130706433>"),
        ),
    ]
}
