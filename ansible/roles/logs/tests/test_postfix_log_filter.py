"""`python3 -m unittest discover ansible/roles/logs/tests`: lines that Debian 12's Postfix has logged."""

import importlib.machinery
import importlib.util
import os
import pathlib
import random
import subprocess
import tempfile
import unittest

PROGRAM = pathlib.Path(__file__).parent.parent / "files" / "postfix-log-filter"
loader = importlib.machinery.SourceFileLoader("postfix_log_filter", str(PROGRAM))
spec = importlib.util.spec_from_loader(loader.name, loader)
log_filter = importlib.util.module_from_spec(spec)
loader.exec_module(log_filter)

PREFIX = "Nov 30 02:56:23 relay "


def journal(text, **options):
    return log_filter.filtered(PREFIX + text, **options)[0]


def bridge(text, **options):
    return log_filter.filtered(PREFIX + text, **options)[1]


class Journal(unittest.TestCase):
    def check(self, text, expected):
        self.assertEqual(journal(text), expected)

    def test_connections(self):
        self.check(
            "postfix/smtps/smtpd[13]: connect from dyn-198-51-100-7.isp.example[198.51.100.7]",
            "<6>postfix/smtps/smtpd[13]: connect from client[*]",
        )
        self.check(
            "postfix/mx/smtpd[13]: disconnect from unknown[2001:db8::7] ehlo=1 quit=1 commands=2",
            "<6>postfix/mx/smtpd[13]: disconnect from client[*] ehlo=1 quit=1 commands=2",
        )
        self.check(
            "postfix/mx/smtpd[13]: lost connection after EHLO from unknown[198.51.100.7]:4711",
            "<6>postfix/mx/smtpd[13]: lost connection after EHLO from client[*]:4711",
        )

    def test_refusals(self):
        self.check(
            "postfix/mx/smtpd[13]: NOQUEUE: reject: RCPT from unknown[198.51.100.7]: 554 5.7.1 <a@x.org>: Relay access "
            "denied; from=<b@y.org> to=<a@x.org> proto=ESMTP helo=<[192.168.1.5]>",
            "<6>postfix/mx/smtpd[13]: NOQUEUE: reject: RCPT from client[*]: 554 5.7.1 <*@x.org>: Relay access "
            "denied; from=<*@y.org> to=<*@x.org> proto=ESMTP helo=<*>",
        )

    def test_submission(self):
        self.check(
            "postfix/smtps/smtpd[13]: 4gQ1: client=unknown[198.51.100.7], sasl_method=PLAIN, sasl_username=abc@x.org",
            "<6>postfix/smtps/smtpd[13]: 4gQ1: client=client[*], sasl_method=PLAIN, sasl_username=*@x.org",
        )
        self.check(
            "postfix/cleanup[13]: 4gQ1: message-id=<0a1b2c@localhost>", "<6>postfix/cleanup[13]: 4gQ1: message-id=<*>"
        )

    def test_warnings(self):
        self.check(
            "postfix/smtpd[13]: warning: hostname 7.100.51.198.isp.example does not resolve to address 198.51.100.7",
            "<4>postfix/smtpd[13]: warning: hostname * does not resolve to address *",
        )
        self.check(
            "postfix/smtpd[13]: warning: unknown[198.51.100.7]: SASL PLAIN authentication failed: x",
            "<4>postfix/smtpd[13]: warning: client[*]: SASL PLAIN authentication failed: x",
        )
        self.check(
            "postfix/anvil[13]: statistics: max connection rate 3/60s for (submission:198.51.100.7) at Nov 30 02:50:01",
            "<6>postfix/anvil[13]: statistics: max connection rate 3/60s for (submission:*) at Nov 30 02:50:01",
        )
        self.check(
            "postfix/anvil[13]: statistics: max connection rate 3/60s for (smtp:2001:db8::7) at Nov 30 02:50:01",
            "<6>postfix/anvil[13]: statistics: max connection rate 3/60s for (smtp:*) at Nov 30 02:50:01",
        )

    def test_deliveries_keep_the_name_of_the_peer(self):
        self.check(
            "postfix/smtp[13]: 4gQ1: to=<bob@x.org>, relay=mx.x.org[2001:db8:1:2:3:4:5:6]:25, delay=0.5, "
            "delays=0.1/0/0.2/0.2, dsn=5.1.1, status=bounced (host mx.x.org[198.51.100.7] said: 550 5.1.1 bob unknown)",
            "<6>postfix/smtp[13]: 4gQ1: to=<*@x.org>, relay=mx.x.org[*]:25, delay=0.5, "
            "delays=0.1/0/0.2/0.2, dsn=5.1.1, status=bounced (host mx.x.org[*] said: 550 5.1.1 * unknown)",
        )

    def test_what_is_no_address_stays(self):
        for text in (
            "postfix/master[13]: daemon started -- version 3.7.11, configuration /etc/postfix",
            "postfix/smtp[13]: connect to x.org[*]:25: Connection refused",
            "postfix/mx/smtpd[13]: Trusted TLS connection: SHA256 AA:BB:CC:DD:EE:FF",
        ):
            self.check(text, "<6>" + text)

    def test_mail_addresses_stay_if_wanted(self):
        self.assertEqual(
            journal("postfix/qmgr[13]: 4gQ1: from=<a@x.org>, size=1", keep_mail_addresses=True),
            "<6>postfix/qmgr[13]: 4gQ1: from=<a@x.org>, size=1",
        )

    def test_strange_lines_are_dropped(self):
        self.assertNotIn("198", log_filter.filtered("198.51.100.7 was here\n")[0])
        self.assertEqual(log_filter.filtered("\n"), (None, None))

    def test_no_address_passes_whatever_surrounds_it(self):
        chance = random.Random(7)
        addresses = ("198.51.100.7", "2001:db8::17", "::ffff:198.51.100.7", "2001:db8:1:2:3:4:5:6", "fe80::17%eth0")
        around = ["", " ", "[", "]", "<", ">", "(", ")", ":", ",", "=", ".", ";", "/", "'", '"', "|", "-"]
        for program in ("smtpd", "smtp", "anvil", "postscreen", "cleanup"):
            for address in addresses:
                for _ in range(400):
                    text = "x" + chance.choice(around) + address + chance.choice(around) + "y z"
                    line = journal(f"postfix/{program}[13]: {text}")
                    for piece in ("51.100", "db8", "fe80", "1:2:3"):
                        self.assertNotIn(piece, line, text)


class Bridge(unittest.TestCase):
    LINE = (
        "postfix/smtp[13]: 4gQ1: to=<bob@{domain}>, relay=none, delay=0.5, delays=0.1/0/0.2/0.2, dsn=4.4.1, "
        "status=deferred (connect to x.org[198.51.100.7]:25: Connection timed out)"
    )

    def test_it_gets_deliveries_only(self):
        self.assertIsNone(bridge("postfix/smtpd[13]: connect from unknown[198.51.100.7]"))
        expected = self.LINE.format(domain="x.org").replace("bob", "*").replace("198.51.100.7", "*")
        self.assertEqual(bridge(self.LINE.format(domain="x.org")), PREFIX + expected)

    def test_relays_without_a_name_keep_theirs(self):
        line = bridge(self.LINE.format(domain="[203.0.113.9]"))
        self.assertIn("to=<*@[203.0.113.9]>", line)
        self.assertNotIn("198.51", line)


class Program(unittest.TestCase):
    def test_it_reads_a_pipe_and_writes_both(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "smtp.log")
            line = PREFIX + Bridge.LINE.format(domain="x.org")
            text = f"{line}\n{PREFIX}postfix/smtpd[1]: {'9' * 50000} 198.51.100.7\n{line}\n\udcff\n"
            done = subprocess.run(
                [str(PROGRAM), path],
                input=text.encode(errors="surrogateescape"),
                stdout=subprocess.PIPE,
                check=True,
                timeout=60,
            )
            self.assertEqual(done.stdout.count(b"status=deferred"), 2)
            self.assertNotIn(b"198.51", done.stdout)
            with open(path, encoding="utf-8") as file:
                self.assertEqual(len(file.readlines()), 2)


if __name__ == "__main__":
    unittest.main()
