//! The outcome of the directives that are not translated: each with a reason.
//!
//! A directive that is in none of the lists, such as that of a module of
//! others, is reported as lost.

use super::{
    notes::{Note, Outcome},
    tree::Directive,
    variables::without_variables,
};

/// An outcome, its reason, and the names of directives that share them, with
/// blanks between.
type Row = (Outcome, &'static str, &'static str);

const ROWS: &[Row] = &[
    (
        Outcome::Needless,
        "the unit of systemd says it",
        "user pid daemon master_process lock_file worker_rlimit_nofile worker_rlimit_core worker_priority \
      worker_cpu_affinity working_directory load_module pcre_jit thread_pool timer_resolution env \
      worker_shutdown_timeout",
    ),
    (
        Outcome::Needless,
        "the gateway does it by itself",
        "use multi_accept accept_mutex worker_connections sendfile tcp_nopush tcp_nodelay server_tokens aio \
      directio types_hash_max_size types_hash_bucket_size server_names_hash_max_size \
      server_names_hash_bucket_size variables_hash_max_size variables_hash_bucket_size map_hash_max_size \
      map_hash_bucket_size proxy_headers_hash_max_size proxy_headers_hash_bucket_size \
      reset_timedout_connection output_buffers postpone_output sendfile_max_chunk proxy_http_version \
      proxy_socket_keepalive http2 http2_max_concurrent_streams http2_recv_buffer_size http2_chunk_size \
      connection_pool_size request_pool_size merge_slashes chunked_transfer_encoding \
      client_header_buffer_size keepalive_disable ssl_session_cache ssl_session_timeout \
      ssl_session_tickets ssl_prefer_server_ciphers ssl_buffer_size ssl_dhparam ssl_ecdh_curve \
      ssl_early_data proxy_ssl_session_reuse proxy_ssl_server_name absolute_redirect port_in_redirect \
      server_name_in_redirect lingering_close lingering_time lingering_timeout recursive_error_pages zone \
      ignore_invalid_headers",
    ),
    (
        Outcome::Needless,
        "it is about files or responses of NGINX itself",
        "types default_type charset charset_types index root etag if_modified_since autoindex open_file_cache \
      open_file_cache_valid open_file_cache_min_uses open_file_cache_errors log_not_found log_subrequest \
      msie_padding client_body_temp_path proxy_temp_path fastcgi_temp_path uwsgi_temp_path scgi_temp_path \
      disable_symlinks read_ahead",
    ),
    (
        Outcome::Needless,
        "responses are passed on while they arrive; `response.buffer` reads ahead of slow clients",
        "proxy_buffering proxy_buffers proxy_buffer_size proxy_busy_buffers_size proxy_max_temp_file_size \
      proxy_temp_file_write_size proxy_limit_rate",
    ),
    (
        Outcome::Differs,
        "bodies of requests are streamed; `request.buffer` reads them before a server is taken",
        "proxy_request_buffering client_body_buffer_size client_body_in_file_only \
      client_body_in_single_buffer",
    ),
    (
        Outcome::Lost,
        "the gateway does not compress",
        "gzip gzip_types gzip_vary gzip_proxied gzip_comp_level gzip_min_length gzip_buffers \
      gzip_http_version gzip_disable gzip_static gunzip brotli brotli_types brotli_comp_level \
      brotli_static",
    ),
    (
        Outcome::Lost,
        "the gateway does not cache",
        "proxy_cache proxy_cache_path proxy_cache_valid proxy_cache_key proxy_cache_bypass proxy_no_cache \
      proxy_cache_use_stale proxy_cache_lock proxy_cache_lock_timeout proxy_cache_methods \
      proxy_cache_min_uses proxy_cache_revalidate proxy_cache_background_update proxy_cache_convert_head \
      proxy_store expires proxy_ignore_headers proxy_force_ranges slice",
    ),
    (
        Outcome::Lost,
        "access lines are JSON on stdout, and `[log]` is for all routes",
        "access_log log_format open_log_file_cache",
    ),
    (
        Outcome::Lost,
        "the log is on stderr, and `[log] level` is for all routes",
        "error_log",
    ),
    (
        Outcome::Lost,
        "refusals are logged with their reason, and their metrics count",
        "limit_req_log_level limit_conn_log_level",
    ),
    (
        Outcome::Lost,
        "there are no variables of the file; write the routes that it leads to",
        "map geo split_clients set geoip_country geoip_city geoip2",
    ),
    (
        Outcome::Lost,
        "there are no conditions; conditions of a route are in `match`",
        "if",
    ),
    (
        Outcome::Lost,
        "paths are changed by `strip_prefix`, `add_prefix` and `rewrite` of a route",
        "rewrite rewrite_log break uninitialized_variable_warn",
    ),
    (
        Outcome::Lost,
        "bodies of refusals are files in `[routes.refusal]`; responses of services pass",
        "error_page proxy_intercept_errors",
    ),
    (
        Outcome::Lost,
        "names are resolved by the system's resolver",
        "resolver resolver_timeout",
    ),
    (
        Outcome::Lost,
        "the gateway chooses the cipher suites, all with forward secrecy",
        "ssl_ciphers ssl_conf_command proxy_ssl_ciphers proxy_ssl_protocols proxy_ssl_conf_command",
    ),
    (
        Outcome::Lost,
        "OCSP is not stapled, and there are no revocation lists",
        "ssl_stapling ssl_stapling_verify ssl_trusted_certificate ssl_stapling_file ssl_ocsp ssl_ocsp_cache \
      ssl_crl proxy_ssl_crl",
    ),
    (
        Outcome::Lost,
        "keys are not encrypted",
        "ssl_password_file proxy_ssl_password_file",
    ),
    (
        Outcome::Lost,
        "the gateway passes streams of HTTP only",
        "stream mail",
    ),
    (
        Outcome::Lost,
        "bodies are not limited in their speed",
        "limit_rate limit_rate_after",
    ),
    (
        Outcome::Lost,
        "`mirror` of a route names an upstream",
        "mirror mirror_request_body",
    ),
    (
        Outcome::Lost,
        "bodies are not changed",
        "sub_filter sub_filter_once sub_filter_types addition_types add_before_body add_after_body ssi",
    ),
    (
        Outcome::Lost,
        "`response.locations = true` maps them back to what clients ask for",
        "proxy_redirect proxy_cookie_path",
    ),
    (
        Outcome::Lost,
        "metrics are on the admin listener, at /metrics",
        "stub_status status_zone vhost_traffic_status vhost_traffic_status_zone",
    ),
    (
        Outcome::Lost,
        "HTTP/3 is not supported",
        "http3 quic_retry quic_gso http3_max_concurrent_streams",
    ),
    (
        Outcome::Lost,
        "it is no longer the time between two reads only, see `timeouts`",
        "client_body_timeout send_timeout proxy_send_timeout",
    ),
    (
        Outcome::Lost,
        "connections end by `pool.max_lifetime` and `keep_alive`, not by a number of requests",
        "keepalive_requests keepalive_time",
    ),
    (
        Outcome::Lost,
        "it has no counterpart; `[listeners] underscores` is for all routes of a listener",
        "underscores_in_headers",
    ),
    (
        Outcome::Lost,
        "requests are passed on whole",
        "proxy_pass_request_body proxy_pass_request_headers",
    ),
    (
        Outcome::Lost,
        "services get the address that the gateway connects from",
        "proxy_bind",
    ),
    (
        Outcome::Unguarded,
        "use `identify` with API keys, tokens, or a service that is asked (docs/identities.md)",
        "auth_basic auth_basic_user_file auth_request auth_request_set auth_jwt auth_jwt_key_file \
      auth_jwt_key_request",
    ),
    (
        Outcome::Unguarded,
        "it has no counterpart",
        "satisfy secure_link secure_link_md5 secure_link_secret valid_referers proxy_ssl_verify_depth modsecurity \
      modsecurity_rules_file access_by_lua_block access_by_lua_file ssl_reject_handshake ssl_verify_depth",
    ),
];

/// Directives whose block needs no note for what is in it.
pub(super) fn note(directive: &Directive) -> Note {
    let name = directive.name.as_str();
    let row = ROWS
        .iter()
        .find(|(_, _, names)| names.split(' ').any(|known| known == name));
    let (outcome, why) = match row {
        Some((outcome, why, _)) => (*outcome, *why),
        None if name.contains("_by_lua") => (Outcome::Lost, "there is no Lua"),
        None if name.starts_with("fastcgi_")
            || name.starts_with("uwsgi_")
            || name.starts_with("scgi_") =>
        {
            (Outcome::Lost, "services speak HTTP")
        }
        None => (Outcome::Lost, "it has no counterpart"),
    };
    // A condition that refuses keeps somebody out.
    let refuses = name == "if" && directive.inside().iter().any(is_refusal);
    let outcome = if refuses { Outcome::Unguarded } else { outcome };
    Note::new(directive, outcome, why)
}

/// A note about a directive that nothing has looked at.
pub(super) fn unread(directive: &Directive) -> Note {
    let of_listener = [
        "client_header_timeout",
        "keepalive_timeout",
        "large_client_header_buffers",
        "ssl_protocols",
    ];
    match of_listener.contains(&directive.name.as_str()) {
        true => {
            let why = "a listener has one value, that of its default server";
            Note::new(directive, Outcome::Lost, why)
        }
        false => {
            let why = "nothing that is carried over uses it here";
            Note::new(directive, Outcome::Needless, why)
        }
    }
}

/// A note about `set`: a fixed value is filled in.
pub(super) fn of_set(directive: &Directive) -> Note {
    match without_variables(directive.argument(1)) {
        Some(_) => Note::new(directive, Outcome::Needless, "its value is filled in"),
        None => note(directive),
    }
}

fn is_refusal(directive: &Directive) -> bool {
    let refuses = |status: &str| {
        matches!(
            status,
            "400" | "401" | "403" | "404" | "405" | "429" | "444" | "503"
        )
    };
    match directive.name.as_str() {
        "return" => refuses(directive.argument(0)),
        "deny" => true,
        _ => false,
    }
}
