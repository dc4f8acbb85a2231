//! What is text or nearly: messages, header values, configuration, protocols.

use chatmail_fuzz::message::around;

use crate::Seed;

pub(crate) fn seeds() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Vec::new();
    let mut add = |target, name: &str, content: &[u8]| {
        seeds.push((target, name.to_owned(), content.to_vec()));
    };
    for (name, message) in MESSAGES {
        let message = message.replace('\n', "\r\n");
        add("mime_walk", name, message.as_bytes());
        add("differential", name, message.as_bytes());
    }
    add("mime_walk", "lf-only", MESSAGES[0].1.as_bytes());
    for (name, armor) in ARMORS {
        let armor = armor.replace('\n', "\r\n");
        add("armor", name, armor.as_bytes());
        add("mime_walk", name, &around(armor.as_bytes()));
    }
    for (name, value) in FROMS {
        add("from", name, value.as_bytes());
    }
    for (name, text) in CONFIGURATIONS {
        add("chatmail_ini", name, text.as_bytes());
    }
    for (name, stream) in DICTS {
        add("dict", name, stream.as_bytes());
    }
    for (name, stream) in SMTP {
        add("smtp_codec", name, stream.as_bytes());
    }
    for (name, packets) in milter() {
        add("milter", name, &packets);
    }
    seeds
}

const MESSAGES: &[(&str, &str)] = &[
    (
        "securejoin",
        "From: <a@example.org>\nSecure-Join: vc-request\nMIME-Version: 1.0\n\
         Content-Type: multipart/mixed; boundary=\"x y\"\n\n--x y\n\
         Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 7bit\n\n\
         secure-join: vc-request\n\n--x y--\n",
    ),
    (
        "securejoin-group",
        "From: a@[192.0.2.1]\nContent-Type: multipart/mixed; boundary=q\nSecure-Join: vg-request\n\n\
         --q\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n\
         Secure-Join: vg-request\n--q--\n",
    ),
    (
        "folded",
        "From: \"A, B\"\n\t<a@example.org>\nSubject: [...]\nContent-Type: multipart/encrypted;\n\
         \tprotocol=\"application/pgp-encrypted\";\n\tboundary=\"b0\"\n\nA preamble.\n--b0 \n\
         Content-Type: application/pgp-encrypted; charset=utf-8\nContent-Description: PGP\n\n\
         Version: 1\n\n--b0\nContent-Type: application/octet-stream; name=\"a.asc\"\n\
         Content-Disposition: inline; filename=\"a.asc\"\nContent-Transfer-Encoding: 7bit\n\n\
         -----BEGIN PGP MESSAGE-----\nVersion: X 1\nComment: y\n\n\
         -----END PGP MESSAGE-----\n--b0-- \n \n",
    ),
    (
        "plain",
        "From: a@example.org\nTo: b@example.org\nSubject: Hello\n\nHello!\n",
    ),
    (
        "report",
        "From: <mailer-daemon@example.org>\nAuto-Submitted: auto-replied\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=r\n\n--r\n\n\
         Gone.\n--r\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; example.org\n\n\
         Final-Recipient: rfc822; b@example.org\nAction: failed\nStatus: 5.1.1\n\n--r--\n",
    ),
    (
        "repeated",
        "From: a@example.org\nFrom: b@example.org\nContent-Type: multipart/encrypted; boundary=b\n\
         Content-Type: text/plain\nMIME-Version: 1.0\nMIME-Version: 1.0\n\n--b--\n",
    ),
];

const ARMORS: &[(&str, &str)] = &[
    (
        "headers",
        "-----BEGIN PGP MESSAGE-----\nVersion: 1\nComment: none\nHash: SHA256\nCharset: utf-8\n\
         MessageID: 1\n\nwVQ=\n=twTO\n-----END PGP MESSAGE-----\n",
    ),
    (
        "signed",
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nHello\n-----BEGIN PGP SIGNATURE-----\n\n\
         iQ==\n-----END PGP SIGNATURE-----\n",
    ),
    (
        "twice",
        "-----BEGIN PGP MESSAGE-----\n\nwVQ=\n-----END PGP MESSAGE-----\n\
         -----BEGIN PGP MESSAGE-----\n\nwVQ=\n-----END PGP MESSAGE-----\n",
    ),
];

const FROMS: &[(&str, &str)] = &[
    ("bare", " a@example.org"),
    ("angle", " Alice B. <alice@example.org>"),
    ("quoted", " \"A, \\\"B\\\" <x@y>\" <a@example.org>"),
    (
        "encoded",
        " =?utf-8?q?Al=C3=ADce?= =?utf-8?b?w6k=?=\n <a@example.org>",
    ),
    ("utf8", " Алиса <a@example.org>"),
    ("literal", " <a@[192.0.2.1]>"),
    ("literal-v6", " a@[IPv6:2001:db8::1]"),
    ("comment", " a@example.org (Alice)"),
    ("group", " Friends: a@example.org, b@example.org;"),
    ("several", " a@example.org, B <b@example.org>"),
    ("route", " <@x.org,@y.org:a@example.org>"),
    (
        "encoded-address",
        " =?utf-8?q?a=40example.org?= <b@example.org>",
    ),
    ("empty-quotes", "\"\" <a@example.org>"),
    ("dots", " .a..b. <.a..b.@example.org>"),
];

const CONFIGURATIONS: &[(&str, &str)] = &[
    ("smallest", "[params]\nmail_domain = example.org\n"),
    (
        "values",
        "[params]\nmail_domain: 192.0.2.1\nmax_mailbox_size = 200 M\nmax_load_1m = 0.75\n\
         disable_ipv6 = yes\nfiltermail_listen = inet:127.0.0.1:10080\n\
         filtermail_metrics =\ntls_external_cert_and_key = /a /b\n\
         passthrough_recipients = a@x.org\n  @y.org\n\n  # between\n  b@[192.0.2.1]\n\
         dns_servers = 127.0.0.1 [::1]:54\nusername_min_length = 1\nusername_max_length = 64\n",
    ),
    (
        "sections",
        "# first\n[params] ; comment\nmail_domain = x.org\n[other]\nmail_domain = y.org\n[x:y\n",
    ),
    (
        "misspelt",
        "[params]\nmail_domian = x.org\nmail_domain = x.org\n",
    ),
    (
        "twice",
        "[params]\nmail_domain = x.org\nmail_domain = x.org\n",
    ),
];

const DICTS: &[(&str, &str)] = &[
    (
        "lookup",
        "H3\t2\t0\t\tauth\nLshared/userdb/a@example.org\tbob\nLshared/passdb/a\x01tb\t\n",
    ),
    (
        "iterate",
        "H2\t2\t0\t\t\nI0\t5\tshared/userdb/\nI33\t0\tp/\tbob\n",
    ),
    (
        "transactions",
        "H4\t0\t0\t\tx\nB1\tbob\t30\nS1\tk\tv\nU1\tk\x01n\nA1\tn\t-3\nT1\t1700000000\t5\nV1\tyes\nC1\n\
         B2\nS2\tk\t\nR2\nC2\n",
    ),
    ("broken", "H9\n"),
];

const SMTP: &[(&str, &str)] = &[
    (
        "message",
        "EHLO mx.example\r\nMAIL FROM:<a@x.org> SIZE=20 BODY=8BITMIME\r\nRCPT TO:<b@[192.0.2.1]>\r\n\
         DATA\r\nSubject: x\r\n\r\n..dots\r\n...\r\n.\r\nQUIT\r\n",
    ),
    (
        "reports",
        "LHLO mx\r\nMAIL FROM:<> RET=HDRS ENVID=a+2Bb SMTPUTF8\r\n\
         RCPT TO:<\"a>b\\\"\"@x.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+20b@x.org\r\n\
         RCPT TO:<postmaster> NOTIFY=NEVER\r\nRSET\r\nNOOP x\r\n",
    ),
    (
        "smuggled",
        "DATA\r\nSubject: x\r\n\r\nHello\n.\r\nMAIL FROM:<c@x.org>\r\n\r\n.\r\nRSET\r\n",
    ),
    ("empty", "DATA\r\n.\r\nDATA\r\n\r\n.\r\n"),
    (
        "replies",
        "220 mx.example ESMTP\r\n250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n\
         250-8BITMIME\r\n250 DSN\r\n250 2.1.0 Ok\r\n550-5.1.1 No\r\n550 5.1.1 such user\r\n354\r\n",
    ),
    ("broken-replies", "250-a\r\n251 b\r\n"),
];

/// Letter, length of two octets, payload.
fn milter() -> Vec<(&'static str, Vec<u8>)> {
    let packet = |letter: u8, payload: &[u8]| {
        let length = u16::try_from(payload.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes();
        [&[letter], length.as_slice(), payload].concat()
    };
    let message = [
        packet(b'D', b"M{auth_authen}\0alice\0"),
        packet(b'M', b"<a@example.org>\0SIZE=1\0"),
        packet(b'D', b"R"),
        packet(b'R', b"<b@example.org>\0"),
        packet(b'R', b"<bc@example.org>\0"),
        packet(b'L', b"From\0 <a@example.org>\0"),
        packet(b'N', b""),
        packet(b'B', b"one\r\n"),
        packet(b'B', b"two\r\n"),
        packet(b'D', b"Ei\x004QUEUE\0"),
        packet(b'E', b""),
    ]
    .concat();
    vec![
        ("message", message.clone()),
        (
            "messages",
            [message.as_slice(), &packet(b'A', b""), &message].concat(),
        ),
        (
            "new-connection",
            [packet(b'K', b""), packet(b'O', &[0; 12])].concat(),
        ),
        ("quit", packet(b'Q', b"")),
        (
            "stream",
            b"\0\0\0\x0DO\0\0\0\x06\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0\0\x06M<a>\0\0\0\0\x01A"
                .to_vec(),
        ),
    ]
}
