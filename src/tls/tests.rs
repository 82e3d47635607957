//! What tests of TLS share: certificates made on the spot, and both sides of a handshake in memory.

use std::sync::Arc;

use bytes::BytesMut;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::{crypto::aws_lc_rs, pki_types::PrivateKeyDer, sign::CertifiedKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

/// A certificate that signs itself.
pub(crate) fn identity(names: &[&str]) -> Identity {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let certificate = CertificateParams::new(names.clone())
        .unwrap()
        .self_signed(&key)
        .unwrap();
    made(vec![certificate.der().clone()], &key, &names)
}

fn made(
    chain: Vec<rustls::pki_types::CertificateDer<'static>>,
    key: &KeyPair,
    names: &[String],
) -> Identity {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).unwrap();
    Identity {
        key: Arc::new(key),
        names: Names(names.iter().map(|name| name.as_str().into()).collect()),
    }
}

/// An authority, and a certificate of it.
fn signed(names: &[&str]) -> (rustls::pki_types::CertificateDer<'static>, Identity) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "an authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let certificate = CertificateParams::new(names.clone())
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    (
        authority.der().clone(),
        made(vec![certificate.der().clone()], &key, &names),
    )
}

fn server(
    identity: Identity,
    client_ca: Option<Vec<rustls::pki_types::CertificateDer<'static>>>,
) -> ServerSettings {
    ServerSettings {
        identities: vec![identity],
        client_ca,
        min_version: MinVersion::Tls12,
        http2: true,
    }
}

async fn shake(
    server: &ServerTls,
    client: &ClientTls,
    name: &'static str,
) -> (
    Result<Secured<tokio::io::DuplexStream>, Refusal>,
    Result<(), &'static str>,
) {
    let (near, far) = duplex(64 * 1024);
    let client = async {
        let mut stream = client
            .connect(ServerName::try_from(name).unwrap(), near)
            .await?;
        // Also takes in the tickets that follow a handshake.
        stream.write_all(b"x").await.map_err(|_| "cut")?;
        stream.read_u8().await.map(drop).map_err(|_| "cut")
    };
    let server = async {
        let mut secured = server.accept(ReadAhead::new(far, BytesMut::new())).await?;
        if secured.io.read_u8().await.is_ok() {
            secured.io.write_all(b"y").await.unwrap();
            secured.io.flush().await.unwrap();
        }
        Ok(secured)
    };
    tokio::join!(server, client)
}

#[tokio::test]
async fn a_session_goes_on_after_a_reload_and_shows_the_certificate_no_more() {
    let (ca, identity) = signed(&["a.example"]);
    let before = ServerTls::new(server(identity.clone(), None), None).unwrap();
    let client = ClientTls::new(ClientSettings {
        ca: Some(vec![ca]),
        identity: None,
        offered: vec![Protocol::Http1],
    })
    .unwrap();
    let (first, answered) = shake(&before, &client, "a.example").await;
    assert!(answered.is_ok() && !first.unwrap().is_resumed);
    let after = ServerTls::new(server(identity, None), Some(&before)).unwrap();
    let (second, answered) = shake(&after, &client, "a.example").await;
    assert!(answered.is_ok() && second.unwrap().is_resumed);
}

/// Whoever was let in by an authority that is trusted no more would otherwise stay for as long as its ticket.
#[tokio::test]
async fn sessions_end_when_others_are_trusted() {
    let (ca, identity) = signed(&["a.example"]);
    let (clients, shown) = signed(&[]);
    let client = ClientSettings {
        ca: Some(vec![ca.clone()]),
        identity: Some(shown),
        offered: vec![Protocol::Http1],
    };
    let client = ClientTls::new(client).unwrap();
    let before = ServerTls::new(server(identity.clone(), Some(vec![clients])), None).unwrap();
    assert!(shake(&before, &client, "a.example").await.1.is_ok());
    let after = ServerTls::new(server(identity, Some(vec![ca])), Some(&before)).unwrap();
    let (refused, _) = shake(&after, &client, "a.example").await;
    assert!(matches!(refused, Err(Refusal::Failed(_))), "{refused:?}");
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_refused_with_the_reason() {
    let (ca, _) = signed(&["a.example"]);
    let client = ClientTls::new(ClientSettings {
        ca: Some(vec![ca.clone()]),
        identity: None,
        offered: vec![Protocol::Http1],
    })
    .unwrap();
    let stranger = ServerTls::new(server(identity(&["a.example"]), None), None).unwrap();
    let (_, refused) = shake(&stranger, &client, "a.example").await;
    assert_eq!(
        refused,
        Err("its certificate was issued by nobody who is trusted")
    );
    let (ca, other) = signed(&["b.example"]);
    let client = ClientTls::new(ClientSettings {
        ca: Some(vec![ca]),
        identity: None,
        offered: vec![Protocol::Http1],
    })
    .unwrap();
    let other = ServerTls::new(server(other, None), None).unwrap();
    let (_, refused) = shake(&other, &client, "a.example").await;
    assert_eq!(refused, Err("its certificate is for another name"));
}

#[test]
fn a_key_is_never_shown() {
    let identity = identity(&["a.example"]);
    let tls = ServerTls::new(server(identity.clone(), None), None).unwrap();
    let client = ClientTls::new(ClientSettings {
        ca: Some(vec![identity.key.cert[0].clone()]),
        identity: Some(identity.clone()),
        offered: Vec::new(),
    });
    let shown = format!("{identity:?} {tls:?} {client:?}").to_lowercase();
    assert!(
        !shown.contains("private") && !shown.contains("keypair"),
        "{shown}"
    );
}
