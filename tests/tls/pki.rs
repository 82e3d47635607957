//! A certificate authority with a folder for the certificates that it issues,
//! and both sides of TLS.

#![allow(unreachable_pub, reason = "each file of this test uses a part of it")]

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Once,
        mpsc::{self, Receiver},
    },
    thread,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_RSA_SHA256,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};

use crate::support::TIMEOUT;

/// A certificate authority. `folder` holds NAME.pem and NAME.key of each issued
/// certificate, and `ca.pem` of the authority.
pub struct Pki {
    folder: tempfile::TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub fn new() -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(tidegate::tls::install_provider);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let folder = tempfile::tempdir().unwrap();
        params.distinguished_name.push(
            DnType::CommonName,
            format!("authority {}", folder.path().display()),
        );
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Self { folder, authority }
    }

    /// Creates an authority that has issued `site` for these names.
    pub fn with_site(names: &[&str]) -> Self {
        let pki = Self::new();
        pki.issue("site", names);
        pki
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The certificate and key of `name` as an entry of the configuration.
    pub fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub fn issue(&self, name: &str, names: &[&str]) {
        self.issue_with(name, names, &KeyPair::generate().unwrap(), |_| {});
    }

    pub fn issue_rsa(&self, name: &str, names: &[&str]) {
        self.issue_with(
            name,
            names,
            &KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap(),
            |_| {},
        );
    }

    /// Writes a self-signed certificate that is marked as an authority, as
    /// `openssl req -x509` makes them.
    pub fn sign_itself(
        &self,
        name: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let mut params =
            CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())
                .unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        fs::write(
            self.path(&format!("{name}.pem")),
            params.self_signed(&key).unwrap().pem(),
        )
        .unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// Issues a certificate for this key. Both files are replaced by renaming,
    /// as tools that renew certificates do.
    pub fn issue_with(
        &self,
        name: &str,
        names: &[&str],
        key: &KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let mut params =
            CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())
                .unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let certificate = params.signed_by(key, &self.authority).unwrap();
        for (file, text) in [("pem", certificate.pem()), ("key", key.serialize_pem())] {
            let next = self.path("next");
            fs::write(&next, text).unwrap();
            fs::rename(next, self.path(&format!("{name}.{file}"))).unwrap();
        }
    }

    /// A listener on a free port with these certificates; the first one is the
    /// default.
    pub fn listener(&self, names: &[&str], more: &str) -> String {
        let pair = |name: &&str| {
            format!(
                "{{ cert = '{}', key = '{}' }}",
                self.shown(&format!("{name}.pem")),
                self.shown(&format!("{name}.key"))
            )
        };
        let pairs: Vec<_> = names.iter().map(pair).collect();
        format!(
            "[[listeners]]\nbind = \"127.0.0.1:0\"\n[listeners.tls]\ncertificates = [{}]\n{more}\n",
            pairs.join(", ")
        )
    }

    fn chain(&self, name: &str) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(self.path(&format!("{name}.pem")))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    fn key(&self, name: &str) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        self.chain("ca")
            .into_iter()
            .for_each(|ca| roots.add(ca).unwrap());
        roots
    }

    /// TLS settings of a client that trusts this authority and shows the
    /// certificate `identity`, if any.
    pub fn client(&self, shown: Option<&str>) -> Arc<ClientConfig> {
        let config = ClientConfig::builder().with_root_certificates(self.roots());
        Arc::new(match shown {
            None => config.with_no_client_auth(),
            Some(name) => config
                .with_client_auth_cert(self.chain(name), self.key(name))
                .unwrap(),
        })
    }

    /// TLS settings of a server with the certificate `name`. If `asks` is set,
    /// clients must show a certificate of this authority.
    pub fn server(&self, name: &str, asks: bool) -> Arc<ServerConfig> {
        let config = ServerConfig::builder();
        let config = match asks {
            false => config.with_no_client_auth(),
            true => config.with_client_cert_verifier(
                WebPkiClientVerifier::builder(Arc::new(self.roots()))
                    .build()
                    .unwrap(),
            ),
        };
        Arc::new(
            config
                .with_single_cert(self.chain(name), self.key(name))
                .unwrap(),
        )
    }
}

/// A client's TLS connection.
pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Connects and completes the handshake.
pub fn connect(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    name: &str,
) -> std::io::Result<Tls> {
    let socket = TcpStream::connect(address).unwrap();
    connect_over(config, socket, name)
}

/// Completes the handshake on an established connection.
pub fn connect_over(
    config: &Arc<ClientConfig>,
    mut socket: TcpStream,
    name: &str,
) -> std::io::Result<Tls> {
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut session = ClientConnection::new(Arc::clone(config), name).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(session, socket))
}

/// Sends one request and reads to the end of the connection.
pub fn ask(stream: &mut Tls, host: &str, path: &str) -> std::io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response)
}

/// The first name in the certificate that the server shows for the server name
/// `name`.
pub fn shown_to(config: &Arc<ClientConfig>, address: SocketAddr, name: &str) -> Vec<u8> {
    let stream = connect(config, address, name).unwrap();
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

/// Reads a certificate from a file.
pub fn certificate(file: &Path) -> Vec<u8> {
    CertificateDer::from_pem_file(file).unwrap().to_vec()
}

/// Starts a TLS server that responds to each request with the bytes of the
/// request. It runs until the test process ends.
pub fn server(config: Arc<ServerConfig>) -> SocketAddr {
    server_with_ends(config).0
}

/// Like [`server`]. Sends to the channel whether each connection ended with a
/// close_notify.
pub fn server_with_ends(config: Arc<ServerConfig>) -> (SocketAddr, Receiver<bool>) {
    let (sender, ends) = mpsc::channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let config = Arc::clone(&config);
            let sender = sender.clone();
            // The receiver is gone in most tests.
            thread::spawn(move || sender.send(echo(config, socket.unwrap())).is_ok());
        }
    });
    (address, ends)
}

/// Responds until the connection ends. Returns whether it ended with a
/// close_notify.
fn echo(config: Arc<ServerConfig>, socket: TcpStream) -> bool {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
    let mut read = Vec::new();
    let mut byte = [0];
    loop {
        match stream.read(&mut byte) {
            Ok(1) => {}
            end => return end.is_ok(),
        }
        read.push(byte[0]);
        if read.ends_with(b"\r\n\r\n") {
            let name = stream.conn.server_name().unwrap_or("-").to_owned();
            let kind = stream.conn.handshake_kind();
            let body = format!(
                "sni={name} kind={kind:?}\n{}",
                String::from_utf8_lossy(&read)
            );
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            if stream
                .write_all(&[head.as_bytes(), body.as_bytes()].concat())
                .is_err()
            {
                return false;
            }
            read.clear();
        }
    }
}
