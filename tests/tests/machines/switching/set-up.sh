#!/bin/bash
# Lays a machine out as classic relays are: their places, units, users and servers, with a configuration of our own
# that does in short what theirs does. The daemons are stand-ins (stand_ins.py). The certificate is there already.
set -euo pipefail
domain=old.test
acme=/var/lib/acme/live/$domain

apt-get update --quiet
apt-get install --yes --quiet --no-install-recommends postfix dovecot-core dovecot-imapd dovecot-lmtpd \
    opendkim opendkim-tools nginx libnginx-mod-stream
# Theirs come from elsewhere, and apt is kept from replacing them.
printf 'Package: dovecot-*\nPin: version *\nPin-Priority: -1\n' >/etc/apt/preferences.d/pin-dovecot

useradd --system --user-group --create-home --home-dir /home/vmail vmail
install -d -o vmail -g vmail -m 700 /home/vmail/mail/$domain
adduser --quiet postfix opendkim
echo $domain >/etc/mailname

# --- the daemons
install -d /usr/local/lib/chatmaild/venv/bin
install -m 755 /srv/stand_ins.py /usr/local/lib/chatmaild/venv/bin/stand_ins
printf '[params]\nmail_domain = %s\nmax_message_size = 20000000\npassword_min_length = 9\nmax_load_1m = 0\n' $domain \
    >/usr/local/lib/chatmaild/chatmail.ini
unit() { # NAME RUNTIME-FOLDER ARGUMENT...
    local name=$1 folder=$2
    shift 2
    cat >/etc/systemd/system/"$name".service <<END
[Unit]
Description=A stand-in for $name of a classic relay
[Service]
ExecStart=/usr/local/lib/chatmaild/venv/bin/stand_ins $*
Restart=always
User=vmail
${folder:+RuntimeDirectory=$folder}
[Install]
WantedBy=multi-user.target
END
}
unit doveauth doveauth doveauth
unit chatmail-metadata chatmail-metadata metadata
unit lastlogin chatmail-lastlogin lastlogin
unit filtermail '' filter 10080 10025
unit filtermail-incoming '' filter 10081 10026
cat >/etc/systemd/system/chatmail-expire.service <<END
[Service]
Type=oneshot
ExecStart=/bin/true
END
printf '[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n' >/etc/systemd/system/chatmail-expire.timer

# --- opendkim
install -d -o opendkim -g opendkim -m 750 /var/spool/postfix/opendkim
opendkim-genkey --directory /etc/dkimkeys --domain $domain --selector opendkim
chown -R opendkim:opendkim /etc/dkimkeys
cat >/etc/opendkim.conf <<END
UserID opendkim
UMask 007
Domain $domain
Selector opendkim
KeyFile /etc/dkimkeys/opendkim.private
Socket local:/var/spool/postfix/opendkim/opendkim.sock
PidFile /run/opendkim/opendkim.pid
Mode s
Canonicalization relaxed/simple
MTA ORIGINATING
InternalHosts -
END

# --- Dovecot
cat >/etc/dovecot/auth.conf <<'END'
uri = proxy:/run/doveauth/doveauth.socket:auth
iterate_disable = yes
default_pass_scheme = plain
password_key = passdb/%w"%u
user_key = userdb/%u
END
cat >/etc/dovecot/dovecot.conf <<END
protocols = imap lmtp
auth_mechanisms = plain
mail_plugins = zlib quota
passdb {
  driver = dict
  args = /etc/dovecot/auth.conf
}
userdb {
  driver = dict
  args = /etc/dovecot/auth.conf
}
mail_location = maildir:/home/vmail/mail/$domain/%u
mail_uid = vmail
mail_gid = vmail
namespace inbox {
  inbox = yes
}
mail_attribute_dict = proxy:/run/chatmail-metadata/metadata.socket:metadata
protocol imap {
  mail_plugins = \$mail_plugins imap_quota last_login
  imap_metadata = yes
}
plugin {
  zlib_save = gz
  quota = maildir:User quota
  quota_rule = *:storage=100M
  last_login_dict = proxy:/run/chatmail-lastlogin/lastlogin.socket:lastlogin
  last_login_precision = s
}
service lmtp {
  user = vmail
  unix_listener /var/spool/postfix/private/dovecot-lmtp {
    user = postfix
    group = postfix
    mode = 0600
  }
}
service auth {
  unix_listener /var/spool/postfix/private/auth {
    user = postfix
    group = postfix
    mode = 0660
  }
}
service auth-worker {
  user = vmail
}
ssl = required
ssl_cert = <$acme/fullchain
ssl_key = <$acme/privkey
END

# --- Postfix
cat >/etc/postfix/main.cf <<END
compatibility_level = 3.6
myhostname = $domain
myorigin = $domain
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = all
smtpd_tls_cert_file = $acme/fullchain
smtpd_tls_key_file = $acme/privkey
smtpd_tls_security_level = may
smtp_tls_security_level = may
virtual_mailbox_domains = $domain
virtual_transport = lmtp:unix:private/dovecot-lmtp
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
smtpd_sender_login_maps = regexp:/etc/postfix/login_map
alias_maps =
alias_database =
END
# shellcheck disable=SC2016  # for Postfix
echo '/^(.*)$/ ${1}' >/etc/postfix/login_map
postconf -M "smtp/inet=smtp inet n - y - - smtpd -o smtpd_proxy_filter=127.0.0.1:10081"
# NAME CHROOT COMMAND...
service() { postconf -M "$1/inet=$1 inet n - $2 - - ${*:3}"; }
# shellcheck disable=SC2054  # Postfix' commas
submission=(-o smtpd_sasl_auth_enable=yes -o smtpd_sasl_type=dovecot -o smtpd_sasl_path=private/auth
    -o smtpd_reject_unlisted_recipient=no -o smtpd_recipient_restrictions=
    -o smtpd_sender_restrictions=reject_sender_login_mismatch,permit_sasl_authenticated,reject
    -o smtpd_relay_restrictions=permit_sasl_authenticated,reject -o smtpd_proxy_filter=127.0.0.1:10080)
service smtp y smtpd -o smtpd_proxy_filter=127.0.0.1:10081
service submission y smtpd -o smtpd_tls_security_level=encrypt "${submission[@]}"
service smtps y smtpd -o smtpd_tls_wrappermode=yes "${submission[@]}"
service 127.0.0.1:10025 n smtpd -o smtpd_tls_security_level=none -o milter_macro_daemon_name=ORIGINATING \
    -o smtpd_milters=unix:opendkim/opendkim.sock
service 127.0.0.1:10026 n smtpd -o smtpd_tls_security_level=none

# --- nginx: one file, without Debian's folders of sites
install -d /var/www/html
cat >/etc/nginx/nginx.conf <<END
load_module modules/ngx_stream_module.so;
user www-data;
pid /run/nginx.pid;
events { worker_connections 1024; }
stream {
    map \$ssl_preread_alpn_protocols \$to {
        default 127.0.0.1:8443;
        ~\bsmtp\b 127.0.0.1:465;
        ~\bimap\b 127.0.0.1:993;
    }
    server {
        listen 443;
        proxy_pass \$to;
        ssl_preread on;
    }
}
http {
    access_log off;
    server {
        listen 127.0.0.1:8443 ssl default_server;
        ssl_certificate $acme/fullchain;
        ssl_certificate_key $acme/privkey;
        root /var/www/html;
    }
    server {
        listen 80;
        return 301 https://\$host\$request_uri;
    }
}
END
echo 'A classic relay.' >/var/www/html/index.html

systemctl daemon-reload
systemctl --quiet enable chatmail-expire.timer doveauth chatmail-metadata lastlogin filtermail filtermail-incoming opendkim
systemctl start chatmail-expire.timer
systemctl restart doveauth chatmail-metadata lastlogin filtermail filtermail-incoming opendkim dovecot postfix nginx
