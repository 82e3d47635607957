//! Handshakes between both sides in memory, with certificates made by the
//! tests.

use std::sync::Arc;

use bytes::BytesMut;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;
use crate::policy::{
    Authorities, KeyedCertificate, ListenerTls, Protocol, TlsVersion, UpstreamTls,
};

/// A self-signed certificate.
pub(crate) fn identity(names: &[&str]) -> KeyedCertificate {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let certificate = CertificateParams::new(names)
        .unwrap()
        .self_signed(&key)
        .unwrap();
    made(vec![certificate.der().clone()], &key)
}

fn made(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> KeyedCertificate {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    KeyedCertificate::new(chain, key, "test.pem".into()).unwrap()
}

/// An authority, and a certificate that it has issued.
fn signed(names: &[&str]) -> (CertificateDer<'static>, KeyedCertificate) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "an authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let certificate = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    (
        authority.der().clone(),
        made(vec![certificate.der().clone()], &key),
    )
}

type Certificate = CertificateDer<'static>;

/// The TLS of a listener that shows `identity` and trusts `client_ca`, as after
/// a reload.
fn server(
    identity: KeyedCertificate,
    client_ca: Option<Certificate>,
    earlier: Option<&ServerTls>,
) -> ServerTls {
    let policy = ListenerTls {
        certificates: vec![identity],
        acme: None,
        client_ca: client_ca.map(authority),
        min_version: TlsVersion::Tls12,
    };
    ServerTls::new(
        &policy,
        &[AlpnProtocol::Http2, AlpnProtocol::Http1],
        earlier,
        &Arc::default(),
    )
    .unwrap()
}

/// The TLS of an upstream that trusts `ca` and shows `identity`.
fn client(ca: Certificate, identity: Option<KeyedCertificate>) -> ClientTls {
    let policy = UpstreamTls {
        ca: Some(authority(ca)),
        server_name: None,
        identity,
    };
    ClientTls::new(&policy, Protocol::Http1).unwrap()
}

fn authority(certificate: Certificate) -> Authorities {
    Authorities {
        certificates: vec![certificate],
    }
}

async fn shake(
    server: &ServerTls,
    client: &ClientTls,
    name: &'static str,
) -> (
    Result<Secured<tokio::io::DuplexStream>, HandshakeFailure>,
    Result<(), &'static str>,
) {
    let (near, far) = duplex(64 * 1024);
    let client = async {
        let mut stream = client
            .connect(ServerName::try_from(name).unwrap(), near)
            .await?;
        // This also reads the tickets that follow a handshake.
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
async fn a_session_is_resumed_after_a_reload_without_the_certificate() {
    let (ca, identity) = signed(&["a.example"]);
    let before = server(identity.clone(), None, None);
    let client = client(ca, None);
    let (first, answered) = shake(&before, &client, "a.example").await;
    assert!(answered.is_ok() && !first.unwrap().is_resumed);
    let after = server(identity, None, Some(&before));
    let (second, answered) = shake(&after, &client, "a.example").await;
    assert!(answered.is_ok() && second.unwrap().is_resumed);
}

/// Otherwise a client of an authority that is no longer trusted would be
/// accepted for the lifetime of its ticket.
#[tokio::test]
async fn sessions_end_when_the_trusted_authorities_change() {
    let (ca, identity) = signed(&["a.example"]);
    let (clients, shown) = signed(&[]);
    let client = client(ca.clone(), Some(shown));
    let before = server(identity.clone(), Some(clients), None);
    assert!(shake(&before, &client, "a.example").await.1.is_ok());
    let after = server(identity, Some(ca), Some(&before));
    let (refused, _) = shake(&after, &client, "a.example").await;
    assert!(
        matches!(refused, Err(HandshakeFailure::Failed(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn an_untrusted_server_is_refused_with_the_reason() {
    let (ca, _) = signed(&["a.example"]);
    let stranger = server(identity(&["a.example"]), None, None);
    let (_, refused) = shake(&stranger, &client(ca, None), "a.example").await;
    assert_eq!(
        refused,
        Err("its certificate was issued by nobody who is trusted")
    );
    let (ca, other) = signed(&["b.example"]);
    let other = server(other, None, None);
    let (_, refused) = shake(&other, &client(ca, None), "a.example").await;
    assert_eq!(refused, Err("its certificate is for another name"));
}

#[test]
fn a_key_is_never_shown() {
    let identity = identity(&["a.example"]);
    let tls = server(identity.clone(), None, None);
    let client = client(identity.certified.cert[0].clone(), Some(identity.clone()));
    let shown = format!("{identity:?} {tls:?} {client:?}").to_lowercase();
    assert!(
        !shown.contains("private") && !shown.contains("keypair"),
        "{shown}"
    );
}
