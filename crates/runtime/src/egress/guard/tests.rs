//! Which addresses are called and which never.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

fn guard(allow: &[&str]) -> Guard {
    let settings = Settings {
        allow: allow.iter().map(|net| net.parse().unwrap()).collect(),
        ..Settings::default()
    };
    Guard::new(settings, Egress::default())
}

#[test]
fn special_addresses_are_blocked_and_their_neighbours_are_not() {
    for (blocked, public) in [
        ("0.0.0.0", "1.0.0.0"),
        ("0.255.255.255", "1.1.1.1"),
        ("10.0.0.1", "9.255.255.255"),
        ("10.255.255.255", "11.0.0.0"),
        ("100.64.0.1", "100.63.255.255"),
        ("100.127.255.255", "100.128.0.0"),
        ("127.0.0.1", "126.255.255.255"),
        ("127.255.255.254", "128.0.0.1"),
        ("169.254.169.254", "169.253.255.255"),
        ("169.254.0.0", "169.255.0.0"),
        ("172.16.0.1", "172.15.255.255"),
        ("172.31.255.255", "172.32.0.0"),
        ("192.0.0.192", "192.0.1.0"),
        ("192.0.2.1", "192.0.3.1"),
        ("192.88.99.1", "192.88.98.1"),
        ("192.168.0.1", "192.167.255.255"),
        ("198.18.0.1", "198.17.255.255"),
        ("198.19.255.255", "198.20.0.0"),
        ("198.51.100.7", "198.51.101.7"),
        ("203.0.113.9", "203.0.112.9"),
        ("224.0.0.1", "223.255.255.255"),
        ("255.255.255.255", "8.8.8.8"),
        ("168.63.129.16", "168.63.129.17"),
        ("::", "2606:4700::1111"),
        ("::1", "2001:4860:4860::8888"),
        ("::7f00:1", "2a00:1450::1"),
        ("::ffff:127.0.0.1", "2620:fe::fe"),
        ("::ffff:8.8.8.8", "2400::1"),
        ("::ffff:0:10.0.0.1", "2400::2"),
        ("64:ff9b::a9fe:a9fe", "64:ff9c::1"),
        ("64:ff9b:1::1", "64:ff9b:2::1"),
        ("2002:7f00:1::", "2003::1"),
        ("2001::1", "2001:200::1"),
        ("100::1", "101::1"),
        ("2001:db8::1", "2001:db9::1"),
        ("3fff::1", "3ffe::1"),
        ("5f00::1", "5eff::1"),
        ("fc00::1", "fbff::1"),
        ("fd00:ec2::254", "2600::1"),
        ("fe80::1", "2600::2"),
        ("fec0::1", "2600::3"),
        ("ff02::1", "2600::4"),
    ] {
        assert!(blocked::is_blocked(blocked.parse().unwrap()), "{blocked}");
        assert!(!blocked::is_blocked(public.parse().unwrap()), "{public}");
    }
}

#[test]
fn what_is_wrong_with_a_url_is_told_without_a_look_up() {
    let long = format!("https://example.com/{}", "x".repeat(URL_BYTES));
    for (url, refused) in [
        ("no url", Refused::Url),
        (long.as_str(), Refused::Url),
        ("https://", Refused::Url),
        ("ftp://example.com/", Refused::Scheme),
        ("file:///etc/passwd", Refused::Scheme),
        ("gopher://127.0.0.1:70/", Refused::Scheme),
        ("http://example.com/", Refused::Scheme),
        ("http://8.8.8.8/", Refused::Scheme),
        ("https://user@example.com/", Refused::UserInfo),
        ("https://:secret@example.com/", Refused::UserInfo),
        ("https://example.com@10.0.0.1/", Refused::UserInfo),
        ("https://8.8.8.8:25/", Refused::Port),
        ("https://10.0.0.1/", Refused::Address),
        ("https://169.254.169.254/latest/meta-data", Refused::Address),
        // Other spellings of 127.0.0.1.
        ("https://2130706433/", Refused::Address),
        ("https://0x7f.1/", Refused::Address),
        ("https://0177.0.0.1/", Refused::Address),
        ("https://127.1/", Refused::Address),
        ("https://①②⑦.0.0.1/", Refused::Address),
        ("https://[::1]/", Refused::Address),
        ("https://[::ffff:7f00:1]/", Refused::Address),
        ("https://[64:ff9b::169.254.169.254]/", Refused::Address),
        ("https://[fd00:ec2::254]/", Refused::Address),
    ] {
        assert_eq!(guard(&[]).shape(url), Err(refused), "{url}");
    }
    for url in [
        "https://example.com/hook?x=1",
        "https://example.com:8443/",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/hook",
    ] {
        assert!(guard(&[]).shape(url).is_ok(), "{url}");
    }
}

#[test]
fn an_allowed_network_may_be_private_and_unencrypted_and_no_other_may() {
    let guard = guard(&["10.1.0.0/16", "fd00:1::/32"]);
    for url in [
        "http://10.1.2.3:81/",
        "https://10.1.2.3/",
        "http://[fd00:1::7]/",
    ] {
        assert!(guard.shape(url).is_ok(), "{url}");
    }
    for url in [
        "http://10.2.0.1/",
        "https://127.0.0.1/",
        "https://[fd00:2::7]/",
    ] {
        assert_eq!(guard.shape(url), Err(Refused::Address), "{url}");
    }
    assert_eq!(guard.shape("http://8.8.8.8/"), Err(Refused::Scheme));
}

#[tokio::test]
async fn a_name_that_leads_home_is_refused_after_the_look_up() {
    for url in ["https://localhost/", "https://localhost:8443/x"] {
        let guard = guard(&[]);
        let shaped = guard.shape(url).unwrap();
        let refused = guard.resolve(&shaped).await;
        assert!(
            matches!(refused, Err(Error::Refused(Refused::Address))),
            "{url}: {refused:?}"
        );
        let called = guard.post(url, HeaderMap::new(), Bytes::new()).await;
        assert!(
            matches!(called, Err(Error::Refused(_))),
            "{url}: {called:?}"
        );
    }
}

#[tokio::test]
async fn a_post_arrives_with_its_headers_and_a_redirect_is_not_followed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"{\"x\":1}") {
            socket.read_buf(&mut read).await.unwrap();
        }
        let answer = format!(
            "HTTP/1.1 307 Moved\r\nlocation: http://{address}/again\r\ncontent-length: 0\r\n\r\n"
        );
        socket.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(read).unwrap()
    };
    let headers =
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static("Bearer t"))]);
    let url = format!("http://localhost:{}/hook?a=b#part", address.port());
    let guard = guard(&["127.0.0.0/8", "::1/128"]);
    let (seen, called) = tokio::join!(
        served,
        guard.post(&url, headers, Bytes::from_static(b"{\"x\":1}"))
    );
    assert_eq!(called.unwrap(), StatusCode::TEMPORARY_REDIRECT);
    let seen = seen.to_ascii_lowercase();
    assert!(seen.starts_with("post /hook?a=b http/1.1\r\n"), "{seen}");
    assert!(seen.contains("authorization: bearer t"), "{seen}");
    assert!(
        seen.contains(&format!("host: localhost:{}", address.port())),
        "{seen}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_target_that_never_answers_ends_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let guard = guard(&["127.0.0.0/8"]);
    let called = guard.post(&url, HeaderMap::new(), Bytes::new()).await;
    assert!(matches!(called, Err(Error::Timeout(_) | Error::Connect(_))));
}
