//! The service behind the gateway of `tidegate demo`: fast, slow and flaky, as
//! its paths say.
//!
//! It runs on a thread of its own, in the same process, and listens on a free
//! port of the loopback interface.
//!
//! The paths are `/slow`, which takes a second, `/flaky`, of which every other
//! request fails with 503, beginning with the first, `/verify`, which says who
//! a client is, `/mine`, which names the user, `/priced`, which says what it
//! cost, and any other path, which responds at once. The texts of `/flaky`
//! count its requests, so that the output of curl shows how many were hidden by
//! retries.
//!
//! hyper serves the connections as usual. Nothing limits or logs requests here,
//! since that is the work of the gateway in front.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::time::sleep;

/// Duration of `/slow`: long enough to see a queue, short enough to wait for.
const SLOW: Duration = Duration::from_secs(1);

/// Starts the service on a thread of its own, for the life of the process.
///
/// # Errors
/// The system has no free port or no further thread.
pub(super) fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::Builder::new()
        .name("sample".into())
        .spawn(move || runtime.block_on(serve(listener)))?;
    Ok(address)
}

/// Accepts connections for ever. The only client is the gateway, whose pool
/// bounds the connections.
///
/// Each connection has a task. Returns only if accepting fails, upon which the
/// demo has no service any more and the gateway responds with 502.
async fn serve(listener: TcpListener) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let asked = Arc::new(AtomicU64::new(0));
    loop {
        let (stream, _) = listener.accept().await?;
        let asked = Arc::clone(&asked);
        let service = service_fn(move |request| answer(request, Arc::clone(&asked)));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// The response to a request. `flaky` counts the requests for `/flaky`, of
/// which every other one fails.
async fn answer<B>(
    request: Request<B>,
    flaky: Arc<AtomicU64>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = match request.uri().path() {
        "/priced" => return Ok(priced()),
        "/verify" => return Ok(verify(request.headers().get(USER))),
        "/mine" => {
            let user = request.headers().get(USER);
            let user = user.and_then(|user| user.to_str().ok()).unwrap_or("nobody");
            (StatusCode::OK, format!("this is for {user}\n"))
        }
        "/slow" => {
            sleep(SLOW).await;
            (StatusCode::OK, format!("this took {SLOW:?}\n"))
        }
        "/flaky" => match flaky.fetch_add(1, Ordering::Relaxed) + 1 {
            odd if odd % 2 == 1 => (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("answer {odd} of the service: 503\n"),
            ),
            even => (
                StatusCode::OK,
                format!("answer {even} of the service: ok\n"),
            ),
        },
        "/" => (
            StatusCode::OK,
            "there are /fast, /limited, /mine, /priced, /paced, /strict, /slow and /flaky\n"
                .to_owned(),
        ),
        path => (StatusCode::OK, format!("this is {path}\n")),
    };
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    Ok(response)
}

/// An answer that says what it cost, in the form of model servers.
fn priced() -> Response<Full<Bytes>> {
    let text = "{\"text\":\"hello\",\"usage\":{\"total_tokens\":40}}\n";
    let mut response = Response::new(Full::new(text.into()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// The field in which the demo names a user.
const USER: &str = "x-user";

/// The answer of a service that says who clients are. It believes everyone.
fn verify(user: Option<&HeaderValue>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    match user {
        Some(user) => {
            response.headers_mut().insert("x-auth-user", user.clone());
        }
        None => {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            *response.body_mut() = Full::new("name a user: x-user: ann\n".into());
        }
    }
    response
}
