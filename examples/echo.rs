//! WebSocket messages there and back: a server that returns what it gets, and a client that counts. The load of `websocket`
//! of `benches/side_by_side.py`.
//!
//! Usage: `echo serve ADDRESS`, or `echo ask ADDRESS CONNECTIONS SECONDS`, which prints one line of JSON (milliseconds).
//!
//! Each connection has one message under way: a masked frame with 64 bytes, returned as it came, as no proxy reads frames.

use std::{env, io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout_at},
};

/// RFC 6455, section 1.3: a key and what answers it, so that nothing has to be computed.
const ASK: &[u8] =
    b"GET /ws HTTP/1.1\r\nhost: echo\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const AGREE: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// Bytes of a message's payload.
const PAYLOAD: u8 = 64;
/// How long after the end the last message may still come back.
const GRACE: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let usage = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "usage: echo serve ADDRESS | ask ADDRESS CONNECTIONS SECONDS",
        )
    };
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["serve", address] => serve(address).await,
        ["ask", address, connections, seconds] => {
            let connections = connections.parse().map_err(|_| usage())?;
            ask_all(
                address,
                connections,
                Duration::from_secs(seconds.parse().map_err(|_| usage())?),
            )
            .await
        }
        _ => Err(usage()),
    }
}

async fn serve(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(echo(stream));
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    head(&mut stream).await?;
    stream.write_all(AGREE).await?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read]).await?,
        }
    }
}

/// Reads up to the empty line. Nothing follows it: the other side waits for the answer first.
async fn head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(4096);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

async fn ask_all(address: &str, connections: usize, lasting: Duration) -> io::Result<()> {
    let end = Instant::now() + lasting;
    let asking: Vec<_> = (0..connections)
        .map(|_| tokio::spawn(ask(address.to_owned(), end)))
        .collect();
    let (mut latencies, mut failed) = (Vec::new(), 0);
    for asked in asking {
        match asked.await.map_err(io::Error::other)? {
            Ok(seen) => latencies.extend(seen),
            Err(_) => failed += 1,
        }
    }
    latencies.sort_unstable();
    let percentile = |percent: usize| {
        let at = (latencies.len() * percent / 100).min(latencies.len().saturating_sub(1));
        latencies
            .get(at)
            .map_or(0.0, |found: &Duration| found.as_secs_f64() * 1e3)
    };
    let (answers, p50, p99) = (latencies.len(), percentile(50), percentile(99));
    println!(r#"{{"answers": {answers}, "failed": {failed}, "p50": {p50:.4}, "p99": {p99:.4}}}"#);
    Ok(())
}

/// How long each message took; an error when the upgrade was refused, or a message came back changed or not at all.
async fn ask(address: String, end: Instant) -> io::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(ASK).await?;
    if !head(&mut stream).await?.starts_with(b"HTTP/1.1 101") {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0x82, 0x80 | PAYLOAD, 1, 2, 3, 4];
    message.extend(0..PAYLOAD);
    let mut returned = vec![0; message.len()];
    let mut latencies = Vec::new();
    while Instant::now() < end {
        let sent = Instant::now();
        stream.write_all(&message).await?;
        timeout_at(end + GRACE, stream.read_exact(&mut returned)).await??;
        if returned != message {
            return Err(io::ErrorKind::InvalidData.into());
        }
        latencies.push(sent.elapsed());
    }
    Ok(latencies)
}
