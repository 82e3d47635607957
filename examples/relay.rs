//! A bare TCP relay: what passing bytes costs on this runtime when nothing is parsed. The floor of `benches/side_by_side.py`.
//!
//! Usage: `relay LISTEN UPSTREAM`, both `address:port`. Each client connection gets an upstream connection of its own.

use std::{env, io};

use tokio::{
    io::copy_bidirectional_with_sizes,
    net::{TcpListener, TcpStream},
};

/// Bytes a direction; enough for any head of the comparison.
const BUFFER: usize = 16 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let (Some(listen), Some(upstream)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "usage: relay LISTEN UPSTREAM",
        ));
    };
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (client, _) = listener.accept().await?;
        tokio::spawn(relay(client, upstream.clone()));
    }
}

async fn relay(mut client: TcpStream, upstream: String) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await?;
    Ok(())
}
