//! The functions that a plain GET runs through, and how much of the source has
//! to be read to follow it.
//!
//! The list was made from a run of the debug binary under
//! `valgrind --tool=callgrind`: one worker, a new HTTP/1 connection, two local
//! limits, a concurrency limit, retries armed, an idle connection to the
//! server. Functions of up to five lines are left out, because their names say
//! enough, and so are telemetry and the control thread.

use crate::{
    report,
    source::{Source, production},
};

/// Files under `src/` and the functions in them, from the listener to the
/// server and back.
#[rustfmt::skip]
const PATH: &[(&str, &str)] = &[
    ("server/incoming.rs", "accept_from AsyncFd::set_up"),
    ("server/accept.rs", "accept Acceptor::admit Acceptor::spawn Acceptor::track ConnectionGuard::new"),
    ("server/connections.rs", "AllConnections::admit ClientGuard::drop client IdleCell::new IdleCell::poll_must_end Registry::remove"),
    ("server/http1/head.rs", "HeadProgress::new HeadProgress::starts_idling read due"),
    ("server/http1/mod.rs", "serve Connection::run Connection::poll_head Connection::poll_begin Connection::respond Connection::request Connection::deliver poll_response"),
    ("server/http1/response.rs", "Framing::of write_head content_length Transfer::begin Transfer::poll Transfer::pull"),
    ("server/http1/wire.rs", "Wire::new Wire::poll_read Wire::poll_read_usual Wire::poll_read_rare Wire::poll_gone Wire::free_idle_buffers Wire::begin_body Wire::discard_body"),
    ("server/listener.rs", "Listener::admit Listener::accepted Listener::acquire_slot Listener::try_acquire_slot"),
    ("http1/claims.rs", "is_claim"),
    ("http1/encode.rs", "reason write_status_line write_field with_date Fields::of_lines Fields::push_with Fields::note"),
    ("http1/framing.rs", "Marks::note Marks::bounded of_request of_response Stated::by content_length"),
    ("http1/request.rs", "parse_request read first_line usual_first_line"),
    ("http1/lines.rs", "HeadLines::next usual_line find find_in_rest"),
    ("http1/headers.rs", "Headers::begin Headers::add Headers::over Headers::iter Headers::field Headers::known Headers::write Headers::write_lines"),
    ("http1/names.rs", "FieldName::of FieldName::of_request FieldName::search FieldName::if_same is_same NameSet::and NameSet::has"),
    ("http1/response.rs", "parse_response first_line passed_on left_out ResponseLines::of ResponseLines::next Copying::of Copying::pass Copying::leave_out Copying::end"),
    ("runtime/io.rs", "try_read"),
    ("runtime/output.rs", "Output::buffer Output::append Output::try_send Output::release Output::poll_flush"),
    ("runtime/socket.rs", "try_read try_write try_whole"),
    ("runtime/spare.rs", "take give_back"),
    ("runtime/timer.rs", "Timer::poll PooledTimer::timer PooledTimer::release"),
    ("message.rs", "Origin::new"),
    ("gateway/enter.rs", "enter Address::of Address::read client drop_unproven check_form admit Routes::find"),
    ("gateway/limit_fields.rs", "describe_nearest describe write_rest is_listed"),
    ("gateway/mod.rs", "Gateway::begin Gateway::call ResponseFuture::poll finish note_call"),
    ("gateway/table/mod.rs", "RouteTable::find_as Hosts::find Paths::find walk"),
    ("gateway/table/conditions.rs", "Conditions::admit"),
    ("call/exchange.rs", "Exchange::try_server Exchange::responded RequestId::as_bytes RequestId::made count_up"),
    ("call/emitted.rs", "Exchange::drop EndedExchange::write_line"),
    ("call/target.rs", "Target::parse Target::to_forward authority host_of host_field name is_port"),
    ("policy/key.rs", "KeyPart::kind KeyKind::new"),
    ("policy/path.rs", "is_normal"),
    ("layer/concurrency/limit.rs", "ConcurrencyLimit::take_slot"),
    ("layer/concurrency/mod.rs", "Concurrency::call HeldPermit::new HeldPermit::responded ResponseFuture::poll"),
    ("layer/forward/head.rs", "write host write_received write_account write_first_hop write_forwarded write_node write_via"),
    ("layer/forward/mod.rs", "Forward::call names_length ResponseFuture::poll"),
    ("layer/rate_limit/limits.rs", "RouteLimit::key"),
    ("layer/rate_limit/mod.rs", "RateLimit::call RateLimitLayer::decide"),
    ("layer/rate_limit/plain.rs", "Inquiry::decide_plain Inquiry::plain_question Inquiry::decide_all Inquiry::note_plain"),
    ("layer/rate_limit/response.rs", "settle ResponseFuture::poll"),
    ("layer/retry/budget.rs", "Counts::add"),
    ("layer/retry/mod.rs", "Retry::call ResponseFuture::poll Attempts::new Attempts::failure status"),
    ("layer/timeout.rs", "TotalTimeout::call pace pace_of TotalFuture::poll AttemptTimeout::call AttemptFuture::poll"),
    ("limit/core.rs", "Taken::of"),
    ("limit/decide.rs", "decide decide_two Admission::nearest"),
    ("limit/gcra.rs", "Gcra::from_parts Gcra::conform Standing::known"),
    ("limit/quick.rs", "Core::glance"),
    ("limit/table/glance.rs", "KeyTable::glance"),
    ("limit/table/mod.rs", "KeyTable::class replace"),
    ("limit/top/index.rs", "KeyIndex::find"),
    ("limit/top/mod.rs", "Periods::at"),
    ("limit/top/sketch.rs", "Sketch::record Sketch::raise"),
    ("upstream/attempt.rs", "Attempt::new Attempt::responded RespondedAttempt::complete"),
    ("upstream/balance/mod.rs", "Balancer::choose"),
    ("upstream/http1/connection.rs", "PooledConnection::poll_read_usual"),
    ("upstream/http1/exchange.rs", "Http1Exchange::new Http1Exchange::poll Http1Exchange::parse_head Http1Exchange::into_response response take write_head"),
    ("upstream/http1/pool.rs", "Lease::put_back Http1Pool::idle_of Http1Pool::pop Http1Pool::is_usable Http1Pool::has_room"),
    ("upstream/http1/upload.rs", "Http1Upload::new Http1Upload::poll Http1Upload::pull"),
    ("upstream/send.rs", "Sending::poll Upstream::send Upstream::choose SentRequest::new SentRequest::poll SentRequest::responded SentRequest::drop"),
    ("upstream/server.rs", "Server::pooled"),
    ("upstream/stream.rs", "Stream::is_quiet Stream::try_read Stream::poll_write Stream::poll_flush"),
    ("body.rs", "Body::copied Body::is_whole Body::size_hint"),
    ("body/unframed.rs", "Body::append_whole"),
    ("body/content.rs", "Content::take Content::give_back Content::hold Content::end"),
];

#[test]
fn the_path_of_a_request_names_functions_that_exist() {
    let mut mistakes = Vec::new();
    for (file, functions) in PATH {
        for function in functions.split(' ') {
            if lines_of(file, function).is_none() {
                mistakes.push(format!(
                    "src/{file}: `{function}` is gone, and still in the path"
                ));
            }
        }
    }
    report(&mistakes);
}

/// The number of files of the path.
pub fn files() -> usize {
    PATH.len()
}

/// The lines of all functions of the path.
pub fn lines() -> usize {
    let each = PATH.iter().flat_map(|(file, functions)| {
        let functions = functions.split(' ');
        functions.filter_map(|function| lines_of(file, function))
    });
    each.sum()
}

fn lines_of(file: &str, function: &str) -> Option<usize> {
    let is_it = |source: &&Source| source.shown.strip_prefix("src/") == Some(file);
    let functions = &production().find(is_it)?.facts.functions;
    let found = functions.iter().filter(|one| one.name == function);
    found.map(|one| one.lines).max()
}
