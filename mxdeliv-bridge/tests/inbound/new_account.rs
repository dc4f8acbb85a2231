//! `/new` over the bridge's socket.

use chatmail::registration::Answer as Registration;
use rstest::rstest;
use serde_json::{Value, json};

use crate::bridge::Bridge;
use crate::http::{Answer, Post};

const TOKEN: &str = "0123456789abcdefghjk";

fn request(path: &'static str) -> Post {
    Post {
        path,
        body: Vec::new(),
        ..Post::to(&[])
    }
}

fn body(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
}

async fn bridge(keys: &str) -> Bridge {
    let bridge = Bridge::with(keys).await;
    bridge.doveauth.has_no_accounts();
    bridge
}

#[tokio::test]
async fn a_name_and_a_password_come_back() {
    let bridge = bridge("password_min_length = 30").await;
    let one = bridge.post(&request("/new")).await;
    let other = bridge.post(&request("/cgi-bin/newemail.py")).await;
    let (first, second) = (body(&one), body(&other));
    assert_eq!((one.status, other.status), (200, 200));
    assert_ne!(first, second);
    assert_eq!(first.as_object().unwrap().len(), 2);
    let email = first["email"].as_str().unwrap();
    assert_eq!(email.strip_suffix("@chat.example").unwrap().len(), 9);
    assert_eq!(first["password"].as_str().unwrap().len(), 30);
    assert!(one.head.contains("content-type: application/json"));
    assert!(one.head.contains("cache-control: no-store"));
    bridge
        .until("mxdeliv_new_account_answers_total{status=\"200\"}", 2.0)
        .await;
    // A message that somebody sends along is of no use, and does no harm.
    let with_body = Post {
        body: vec![b'x'; 100_000],
        ..request("/new")
    };
    assert_eq!(bridge.post(&with_body).await.status, 200);
}

#[rstest]
#[case(Registration::Closed, 403)]
#[case(Registration::InviteNeeded, 403)]
#[case(Registration::InviteUnknown, 403)]
#[case(Registration::InviteExpired, 403)]
#[case(Registration::InviteUsedUp, 403)]
#[case(Registration::Busy, 503)]
#[tokio::test]
async fn what_doveauth_refuses_is_refused(#[case] said: Registration, #[case] status: u16) {
    let bridge = bridge("").await;
    bridge.doveauth.answers(Some(said));
    let answer = bridge.post(&request("/new")).await;
    assert_eq!(answer.status, status);
    assert_eq!(body(&answer)["status"], "error");
    assert!(!body(&answer)["reason"].as_str().unwrap().is_empty());
    assert_eq!(answer.head.contains("retry-after: 30"), status == 503);
}

#[tokio::test]
async fn a_password_carries_the_invite_where_one_is_needed() {
    let bridge = bridge("").await;
    bridge.doveauth.answers(Some(Registration::Invited));
    let password = |answer: &Answer| body(answer)["password"].as_str().unwrap().to_owned();
    for path in [
        "/new?t=0123456789abcdefghjk",
        "/new?x&t=O123456789ABCDEFGHJK&y=z",
    ] {
        let answer = bridge.post(&request(path)).await;
        let password = password(&answer);
        let secret = password.strip_prefix(&format!("{TOKEN}-")).unwrap();
        assert_eq!(secret.len(), 24);
    }
    for (path, reason) in [
        ("/new", "by invite only"),
        ("/new?t=", "unknown"),
        ("/new?t=nonsense", "unknown"),
        ("/new?t=0123456789abcdefghj%00", "unknown"),
    ] {
        let answer = bridge.post(&request(path)).await;
        let said = body(&answer)["reason"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, 403);
        assert!(said.contains(reason), "{path}: {said}");
    }
    // Where none is needed it goes nowhere.
    bridge.doveauth.answers(Some(Registration::Open));
    let open = bridge.post(&request("/new?t=0123456789abcdefghjk")).await;
    assert_eq!(password(&open).len(), 24);
}

#[tokio::test]
async fn trouble_with_doveauth_is_temporary() {
    let bridge = bridge("").await;
    bridge.doveauth.answers(None);
    let answer = bridge.post(&request("/new")).await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: 30"));
    assert!(!answer.body.contains("broken"), "{}", answer.body);

    // Every name is taken.
    let bridge = Bridge::start().await;
    let answer = bridge.post(&request("/new")).await;
    assert_eq!(answer.status, 503);
    assert_eq!(bridge.doveauth.lookups(), 10);
}

#[tokio::test]
async fn a_network_may_ask_so_often() {
    let bridge = bridge("max_creations_per_network_per_hour = 3").await;
    for host in 1..=3 {
        let post = request("/new").sent_by(&format!("198.51.100.{host}"));
        assert_eq!(bridge.post(&post).await.status, 200);
    }
    let over = request("/new").sent_by("198.51.100.77");
    let answer = bridge.post(&over).await;
    assert_eq!(answer.status, 429);
    let wait = answer.head.split("retry-after: ").nth(1).unwrap();
    let wait: u64 = wait.split('\r').next().unwrap().parse().unwrap();
    assert!((1..=1201).contains(&wait), "{wait}");
    assert!(
        body(&answer)["reason"]
            .as_str()
            .unwrap()
            .contains("Too many")
    );
    let other = request("/new").sent_by("203.0.113.1");
    assert_eq!(bridge.post(&other).await.status, 200);
    // What is said to be wrong counts as well: nobody tries invites at leisure.
    bridge.doveauth.answers(Some(Registration::InviteUnknown));
    let guess = request("/new?t=0123456789abcdefghjk").sent_by("192.0.2.1");
    for status in [403, 403, 403, 429] {
        assert_eq!(bridge.post(&guess).await.status, status);
    }
}

#[tokio::test]
async fn whoever_nginx_does_not_name_gets_nothing() {
    let bridge = bridge("").await;
    for request in [
        request("/new").without("X-Real-IP"),
        request("/new").sent_by("nobody"),
        request("/new").with("X-Real-IP", "192.0.2.7"),
    ] {
        assert_eq!(bridge.post(&request).await.status, 500);
    }
}

#[rstest]
#[case(
    "mail_domain = 192.0.2.1",
    "[192.0.2.1]",
    "%40%5B192.0.2.1%5D",
    "&ih=192.0.2.1&sh=192.0.2.1"
)]
#[case("mail_domain = _x.example", "_x.example", "%40_x.example", "")]
#[tokio::test]
async fn apps_are_told_not_to_check_what_cannot_be_checked(
    #[case] key: &str,
    #[case] domain: &str,
    #[case] encoded: &str,
    #[case] hosts: &str,
) {
    let bridge = Bridge::of(key).await;
    for method in ["GET", "POST"] {
        let request = Post {
            method,
            ..request("/new")
        };
        let answer = bridge.post(&request).await;
        let body = body(&answer);
        let text = |name: &str| body[name].as_str().unwrap();
        let name = text("email").strip_suffix(&format!("@{domain}")).unwrap();
        let url = format!(
            "dclogin:{name}{encoded}?p={}&v=1&ic=3&sc=3{hosts}",
            text("password")
        );
        assert_eq!((answer.status, &body["dclogin_url"]), (200, &json!(url)));
    }
    // A browser is handed over to the app with all of that.
    let get = Post {
        method: "GET",
        ..request("/new")
    };
    let answer = bridge
        .post(&get.with("Accept", "text/html,*/*;q=0.8"))
        .await;
    let expected = "location: dclogin:";
    assert_eq!(answer.status, 302);
    assert!(answer.head.contains(expected), "{}", answer.head);
    assert!(answer.head.contains("no-store"), "{}", answer.head);
}

#[tokio::test]
async fn browsers_are_handed_over_and_other_methods_refused() {
    let bridge = bridge("max_creations_per_network_per_hour = 1").await;
    for (path, location) in [
        ("/new", ""),
        ("/cgi-bin/newemail.py", ""),
        ("/new?t=O123456789abcdefghjk", "?t=0123456789abcdefghjk"),
        ("/new?t=%3Cscript%3E", "?t="),
    ] {
        let get = Post {
            method: "GET",
            ..request(path)
        };
        let answer = bridge.post(&get).await;
        let expected = format!("location: dcaccount:https://chat.example/new{location}\r\n");
        assert_eq!(answer.status, 302);
        assert!(
            (answer.head.clone() + "\r\n").contains(&expected),
            "{}",
            answer.head
        );
    }
    for method in ["HEAD", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let answer = bridge
            .post(&Post {
                method,
                ..request("/new")
            })
            .await;
        assert_eq!(answer.status, 405);
        assert!(answer.head.contains("allow: get, post"), "{}", answer.head);
    }
    for path in ["/new/", "/news", "/cgi-bin/"] {
        assert_eq!(bridge.post(&request(path)).await.status, 404);
    }
}
