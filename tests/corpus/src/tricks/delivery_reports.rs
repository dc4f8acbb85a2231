//! Look-alikes of delivery status notifications, which may come in as clear text when a mail
//! system sent them: each of these lacks something that makes one.
//!
//! To the gate all are clear text. What makes a notification is judged on the way in, beside the
//! envelope: `Auto-Submitted`, `report-type`, a null sender. The envelope sender of these messages
//! is their author, so that none is one.

use filtermail::gate::Rule;

use crate::message::cleartext;
use crate::trick::{Trick, trick};

const AUTO: &str = "Auto-Submitted: auto-replied";
const TYPE: &str =
    "Content-Type: multipart/report; report-type=delivery-status; boundary=\"report\"";

pub(super) fn tricks() -> Vec<Trick> {
    [reports(), bodies()].concat()
}

fn body() -> String {
    "--report\r\n\
     Content-Type: text/plain\r\n\r\n\
     Your message could not be delivered.\r\n\
     --report\r\n\
     Content-Type: message/delivery-status\r\n\r\n\
     Reporting-MTA: dns; mx.example.org\r\n\r\n\
     Final-Recipient: rfc822; carol@example.org\r\n\
     Action: failed\r\n\
     Status: 5.1.1\r\n\
     --report\r\n\
     Content-Type: text/rfc822-headers\r\n\r\n\
     Subject: [...]\r\n\
     --report--\r\n"
        .to_owned()
}

fn report(fields: &[&str]) -> Vec<u8> {
    cleartext(&fields.join("\r\n"), &body())
}

fn reports() -> Vec<Trick> {
    let rule = Rule::NotEncrypted;
    vec![
        trick(
            rule,
            "report-by-a-person",
            "All that a report has, but its sender is a person.",
            report(&[AUTO, TYPE]),
        ),
        trick(
            rule,
            "report-that-is-not-automatic",
            "Without `Auto-Submitted` a person wrote it.",
            report(&[TYPE]),
        ),
        trick(
            rule,
            "report-that-says-it-is-not-automatic",
            "`Auto-Submitted: no` means that a person wrote it.",
            report(&["Auto-Submitted: no", TYPE]),
        ),
        trick(
            rule,
            "report-with-a-comment-about-being-automatic",
            "`no` with a comment is `no` still.",
            report(&["Auto-Submitted: no (auto-replied)", TYPE]),
        ),
        trick(
            rule,
            "report-that-is-and-is-not-automatic",
            "Two `Auto-Submitted`: the first or the last.",
            report(&["Auto-Submitted: auto-replied", "Auto-Submitted: no", TYPE]),
        ),
        trick(
            rule,
            "report-of-reading",
            "A read receipt is another kind of report.",
            report(&[
                AUTO,
                &TYPE.replace("delivery-status", "disposition-notification"),
            ]),
        ),
        trick(
            rule,
            "report-of-abuse",
            "A feedback report quotes the whole message.",
            report(&[AUTO, &TYPE.replace("delivery-status", "feedback-report")]),
        ),
        trick(
            rule,
            "report-without-its-kind",
            "multipart/report alone does not say what it reports.",
            report(&[AUTO, &TYPE.replace("report-type=delivery-status; ", "")]),
        ),
        trick(
            rule,
            "report-by-its-parts-only",
            "The parts of a report in a multipart/mixed.",
            report(&[AUTO, &TYPE.replace("multipart/report", "multipart/mixed")]),
        ),
        trick(
            rule,
            "report-with-a-person-as-return-path",
            "A Return-Path header is no envelope.",
            report(&["Return-Path: <>", AUTO, TYPE]),
        ),
        trick(
            rule,
            "report-that-also-claims-to-be-a-request",
            "A Secure-Join header on a report.",
            report(&["Secure-Join-Fingerprint: 00", AUTO, TYPE]),
        ),
        trick(
            Rule::ContentTypeParameterRepeated,
            "report-of-two-kinds",
            "The first or the last report-type.",
            report(&[
                AUTO,
                &TYPE.replace("report-type", "report-type=feedback-report; report-type"),
            ]),
        ),
        trick(
            Rule::ContentTypeExtended,
            "report-with-its-kind-in-the-extended-form",
            "RFC 2231: the kind is another to who decodes it.",
            report(&[
                AUTO,
                &TYPE.replace("report-type=", "report-type*=us-ascii''"),
            ]),
        ),
        trick(
            Rule::ContentTypeRepeated,
            "report-with-two-types",
            "A report to one program, text to another.",
            report(&[AUTO, TYPE, "Content-Type: text/plain"]),
        ),
        trick(
            Rule::SecureJoinType,
            "report-under-a-securejoin-header",
            "Two exceptions at once make none.",
            report(&["Secure-Join: vc-request", AUTO, TYPE]),
        ),
    ]
}

fn bodies() -> Vec<Trick> {
    let rule = Rule::NotEncrypted;
    vec![
        trick(
            rule,
            "vacation-notice",
            "Automatic, but a text by a person.",
            cleartext(
                &format!("{AUTO}\r\nContent-Type: text/plain"),
                "I am away until noon.\r\n",
            ),
        ),
        trick(
            rule,
            "old-bounce-in-plain-text",
            "As some systems still write them: nothing says what it is.",
            cleartext(
                "Subject: Undelivered mail\r\nContent-Type: text/plain",
                "Your message came back.\r\n",
            ),
        ),
        trick(
            rule,
            "status-part-on-top",
            "The type of a report's part as that of the message.",
            cleartext(
                &format!("{AUTO}\r\nContent-Type: message/delivery-status"),
                "Action: failed\r\n",
            ),
        ),
    ]
}
