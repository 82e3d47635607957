//! The turn of a handshake, and first messages that are none.

use std::pin::pin;

use futures_util::FutureExt;
use tokio::io::duplex;

use super::*;
use crate::{
    policy::{ListenerTls, TlsVersion},
    server::accept::tests::listener,
    tls::tests::identity,
};

fn tls() -> ServerTls {
    let policy = ListenerTls {
        certificates: vec![identity(&["a.example"])],
        acme: None,
        client_ca: None,
        min_version: TlsVersion::Tls12,
    };
    ServerTls::new(&policy, &[AlpnProtocol::Http1], None, &Arc::default()).unwrap()
}

/// The first bytes of a client.
fn hello() -> Vec<u8> {
    let config =
        rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty());
    let name = "a.example".try_into().unwrap();
    let mut client =
        rustls::ClientConnection::new(config.with_no_client_auth().into(), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test]
async fn a_handshake_waits_for_its_turn_and_who_has_not_said_all_takes_none() {
    let (tls, listener, permits) = (tls(), listener(1), Semaphore::new(1));
    let secured = |io| {
        secure(
            ReadAhead::new(io, BytesMut::new()),
            &tls,
            &listener,
            &permits,
        )
    };
    let [(_quiet, silent), (mut slow, first), (mut ready, second)] = [(); 3].map(|()| duplex(4096));
    let (mut silent, mut first, mut second) = (
        pin!(secured(silent)),
        pin!(secured(first)),
        pin!(secured(second)),
    );
    assert!(silent.as_mut().now_or_never().is_none());
    let hello = hello();
    slow.write_all(&hello[..hello.len() - 1]).await.unwrap();
    assert!(first.as_mut().now_or_never().is_none());
    assert_eq!(permits.available_permits(), 1, "one byte is missing");
    ready.write_all(&hello).await.unwrap();
    assert!(second.as_mut().now_or_never().is_none());
    assert_eq!(
        permits.available_permits(),
        0,
        "everybody else has a turn before the next one"
    );
    slow.write_all(&hello[hello.len() - 1..]).await.unwrap();
    assert!(first.as_mut().now_or_never().is_none());
    assert!(
        second.as_mut().now_or_never().is_none(),
        "the client has to answer"
    );
    assert!(first.as_mut().now_or_never().is_none());
    assert!(first.as_mut().now_or_never().is_none());
    assert_eq!(
        (permits.available_permits(), listener.handshakes()),
        (1, 2),
        "both wait for their clients"
    );
    drop(slow);
    assert!(matches!(
        first.await,
        Err(Unsecured::Refused(HandshakeFailure::Closed(_)))
    ));
}

#[tokio::test]
async fn what_is_no_first_message_is_refused_at_once() {
    let (tls, listener, permits) = (tls(), listener(1), Semaphore::new(1));
    let (mut wrong, io) = duplex(4096);
    wrong.write_all(&[22, 9, 9, 0, 1, 1]).await.unwrap();
    let secured = secure(
        ReadAhead::new(io, BytesMut::new()),
        &tls,
        &listener,
        &permits,
    )
    .await;
    assert!(matches!(
        secured,
        Err(Unsecured::Refused(HandshakeFailure::Failed(_)))
    ));
    assert_eq!((permits.available_permits(), listener.handshakes()), (1, 0));
}

#[test]
fn the_answer_to_plain_http_has_the_length_that_it_says() {
    let text = std::str::from_utf8(NOT_PLAIN).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains(&format!("content-length: {}\r\n", body.len())),
        "{}",
        body.len()
    );
}
