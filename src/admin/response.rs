//! Responses of the admin listener: text, JSON and problems.
//!
//! All have their whole body in memory, and none may be cached, since each
//! shows the state of one moment.

use std::{panic::resume_unwind, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::Full;
use hyper::ext::ReasonPhrase;
use serde::Serialize;
use serde_json::Value;
use tokio::task::spawn_blocking;

use super::context::ViewRoom;
use crate::http1;

/// A response with its whole body in memory.
pub(super) type AdminResponse = http::Response<Full<Bytes>>;

/// A response with status 200 and plain text.
pub(super) fn text(text: impl Into<Bytes>) -> AdminResponse {
    with_type("text/plain; charset=utf-8", StatusCode::OK, text.into())
}

/// A response with JSON, indented because people read it as often as programs.
///
/// Keys are in alphabetical order, so that two responses can be compared as
/// text.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> AdminResponse {
    with_type("application/json", status, pretty(value))
}

/// A view of a state, made on a thread for work that blocks. The first one
/// parses the list of all keys, and one of thousands of routes takes as long as
/// a reload: the control thread goes on with checks, signals and scrapes.
///
/// `load` is called when there is room in `views`. A view that has begun is made
/// to its end, also when its caller has left, and needs its room until then.
///
/// # Panics
/// If `make` does.
pub(super) async fn view<S, V>(
    views: &ViewRoom,
    load: impl FnOnce() -> Arc<S>,
    make: fn(&S) -> V,
) -> AdminResponse
where
    S: Send + Sync + 'static,
    V: Serialize + 'static,
{
    let room = views.one().await;
    let state = load();
    let made = spawn_blocking(move || {
        let response = json(StatusCode::OK, &make(&state));
        drop((state, room));
        response
    });
    match made.await {
        Ok(response) => response,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        Err(_) => {
            let detail = "there is no view now: the process is ending";
            problem(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }
}

/// Problem details (RFC 9457).
#[derive(Debug, Serialize)]
struct ProblemDetails<'a> {
    /// Always `about:blank`: the status describes the problem well enough.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The reason phrase of the status.
    title: &'static str,
    /// The status of the response, from 400 to 599.
    status: u16,
    /// A sentence for people; it may change between versions.
    detail: &'a str,
}

/// A response with problem details (RFC 9457).
///
/// `detail` is a sentence for the caller, and must not contain a secret.
pub(super) fn problem(status: StatusCode, detail: &str) -> AdminResponse {
    let problem = ProblemDetails {
        kind: "about:blank",
        title: http1::reason(status).unwrap_or("Refused"),
        status: status.as_u16(),
        detail,
    };
    with_type("application/problem+json", status, pretty(&problem))
}

/// A response of any media type. It is never cached.
pub(super) fn with_type(media: &'static str, status: StatusCode, body: Bytes) -> AdminResponse {
    let mut response = AdminResponse::new(Full::new(body));
    *response.status_mut() = status;
    if let Some(words) = http1::reason(status) {
        // The reason phrases of RFC 9110, as on the other listeners; those of
        // hyper are older.
        response
            .extensions_mut()
            .insert(ReasonPhrase::from_static(words.as_bytes()));
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Keeps browsers from running a view as a script.
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// Indented JSON, with the keys of each object in alphabetical order.
fn pretty(value: &impl Serialize) -> Bytes {
    // Fails only for maps whose keys are no strings; the admin listener has
    // none.
    let value = serde_json::to_value(value).unwrap_or(Value::Null);
    format!("{value:#}\n").into()
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, sync::Barrier, time::Duration};

    use tokio::{task::yield_now, time::timeout};

    use super::*;

    #[tokio::test]
    async fn a_view_that_takes_long_keeps_nothing_on_its_thread_waiting() {
        let both = Arc::new(Barrier::new(2));
        let views = ViewRoom::default();
        let made = view(&views, || Arc::clone(&both), |both| both.wait().is_leader());
        // Both have to be at the barrier at once, on the one thread of the test.
        let (response, _) = tokio::join!(made, async { both.wait() });
        assert_eq!(response.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_view_that_panics_ends_its_call_in_that_panic() {
        let views = ViewRoom::default();
        let call = async move {
            let make: fn(&()) -> () = |()| panic!("a fault of ours");
            view(&views, Arc::default, make).await
        };
        let error = tokio::spawn(call).await.unwrap_err();
        let panic = error.into_panic();
        assert_eq!(panic.downcast_ref(), Some(&"a fault of ours"));
    }

    #[tokio::test]
    async fn views_whose_callers_have_left_keep_their_room_until_they_are_made() {
        let all = Arc::new(Barrier::new(3));
        let views = ViewRoom::default();
        for left in [1, 0] {
            let (views_of_call, of_call) = (views.clone(), Arc::clone(&all));
            let call = tokio::spawn(async move {
                view(&views_of_call, || of_call, |all| all.wait().is_leader()).await
            });
            while views.left() > left {
                yield_now().await;
            }
            call.abort();
            assert!(call.await.unwrap_err().is_cancelled());
        }
        let mut next = pin!(view(&views, Arc::<()>::default, |()| ()));
        assert!(timeout(Duration::ZERO, &mut next).await.is_err());
        assert_eq!(views.left(), 0);
        all.wait();
        assert_eq!(next.await.status(), StatusCode::OK);
    }
}
