//! The directives that are not translated, with the reason for each.

use super::notes::Outcome;

/// An outcome, its reason, and the names of directives that share them, with
/// blanks between.
pub(super) type Row = (Outcome, &'static str, &'static str);

/// The directives that are not translated. One that is in no row, such as that of
/// a module of others, is lost.
pub(super) const ROWS: &[Row] = &[
    (
        Outcome::Needless,
        "the gateway has no use for it",
        "pid daemon master_process lock_file pcre_jit thread_pool timer_resolution debug_points use multi_accept \
      accept_mutex accept_mutex_delay sendfile sendfile_max_chunk tcp_nopush tcp_nodelay aio aio_write directio \
      directio_alignment output_buffers postpone_output reset_timedout_connection connection_pool_size \
      request_pool_size keepalive_disable lingering_close lingering_time lingering_timeout \
      server_names_hash_max_size server_names_hash_bucket_size variables_hash_max_size \
      variables_hash_bucket_size map_hash_max_size map_hash_bucket_size proxy_headers_hash_max_size \
      proxy_headers_hash_bucket_size client_header_buffer_size zone msie_padding msie_refresh \
      http2_push http2_push_preload http2_max_concurrent_pushes uninitialized_variable_warn rewrite_log \
      log_subrequest ssl_buffer_size",
    ),
    (Outcome::Needless, "the systemd unit sets the user", "user"),
    (
        Outcome::Lost,
        "set it in the systemd unit",
        "env worker_rlimit_nofile worker_rlimit_core worker_priority worker_cpu_affinity working_directory",
    ),
    (
        Outcome::Lost,
        "tidegate has no modules; directives of a module have comments of their own",
        "load_module",
    ),
    (
        Outcome::Lost,
        "use `shutdown.drain`",
        "worker_shutdown_timeout",
    ),
    (
        Outcome::Needless,
        "`max_connections` of a listener is as many as the limit on open files allows",
        "worker_connections",
    ),
    (
        Outcome::Needless,
        "the gateway does it by itself",
        "server_tokens proxy_http_version proxy_socket_keepalive http2 http2_recv_buffer_size http2_body_preread_size \
      proxy_ssl_session_reuse proxy_ssl_server_name recursive_error_pages merge_slashes chunked_transfer_encoding \
      http2_idle_timeout http2_recv_timeout",
    ),
    (
        Outcome::Needless,
        "the gateway has bounds of its own for HTTP/2 (docs/protocols.md)",
        "http2_max_concurrent_streams http2_chunk_size http2_max_field_size http2_max_header_size \
      http2_max_requests",
    ),
    (
        Outcome::Needless,
        "sessions of TLS are resumed by tickets, whose keys change every six hours",
        "ssl_session_cache ssl_session_timeout ssl_session_tickets ssl_session_ticket_key",
    ),
    (
        Outcome::Needless,
        "`redirect` of a route says the whole target",
        "absolute_redirect port_in_redirect server_name_in_redirect",
    ),
    (
        Outcome::Needless,
        "it is about files or responses of NGINX itself",
        "types types_hash_max_size types_hash_bucket_size default_type index root etag if_modified_since autoindex \
      autoindex_exact_size autoindex_format autoindex_localtime open_file_cache open_file_cache_valid \
      open_file_cache_min_uses open_file_cache_errors log_not_found client_body_temp_path proxy_temp_path \
      fastcgi_temp_path uwsgi_temp_path scgi_temp_path disable_symlinks read_ahead",
    ),
    (
        Outcome::Needless,
        "responses are passed on while they arrive; `response.buffer` reads ahead of slow clients",
        "proxy_buffering proxy_buffers proxy_buffer_size proxy_busy_buffers_size proxy_max_temp_file_size \
      proxy_temp_file_write_size",
    ),
    (
        Outcome::Needless,
        "the gateway passes such fields on, and does nothing else with them",
        "proxy_ignore_headers",
    ),
    (
        Outcome::Differs,
        "bodies of requests are streamed; `request.buffer` reads them before a server is taken",
        "proxy_request_buffering client_body_buffer_size client_body_in_file_only \
      client_body_in_single_buffer",
    ),
    (
        Outcome::Differs,
        "a request with a header line that is not valid gets 400",
        "ignore_invalid_headers",
    ),
    (
        Outcome::Differs,
        "clients cannot send early data (0-RTT)",
        "ssl_early_data",
    ),
    (
        Outcome::Lost,
        "tidegate does not compress",
        "gzip gzip_types gzip_vary gzip_proxied gzip_comp_level gzip_min_length gzip_buffers \
      gzip_http_version gzip_disable gzip_static gunzip gunzip_buffers brotli brotli_types brotli_comp_level \
      brotli_static brotli_min_length brotli_buffers brotli_window zstd zstd_types zstd_comp_level",
    ),
    (
        Outcome::Lost,
        "tidegate does not cache",
        "proxy_cache proxy_cache_path proxy_cache_valid proxy_cache_key proxy_cache_bypass proxy_no_cache \
      proxy_cache_use_stale proxy_cache_lock proxy_cache_lock_timeout proxy_cache_lock_age proxy_cache_methods \
      proxy_cache_min_uses proxy_cache_revalidate proxy_cache_background_update proxy_cache_convert_head \
      proxy_cache_purge proxy_cache_max_range_offset proxy_store proxy_store_access slice",
    ),
    (
        Outcome::Lost,
        "the service answers requests for ranges",
        "proxy_force_ranges max_ranges",
    ),
    (
        Outcome::Lost,
        "set Cache-Control by `response.set_headers`",
        "expires",
    ),
    (
        Outcome::Lost,
        "use `set_headers`, `add_headers` or `remove_headers` of `response`",
        "more_set_headers more_clear_headers add_trailer",
    ),
    (
        Outcome::Lost,
        "use `set_headers` or `remove_headers` of `request`",
        "more_set_input_headers more_clear_input_headers",
    ),
    (
        Outcome::Lost,
        "fields of services are passed on as they are",
        "charset charset_types source_charset override_charset",
    ),
    (
        Outcome::Lost,
        "the gateway adds no attributes to cookies",
        "proxy_cookie_flags",
    ),
    (
        Outcome::Lost,
        "access lines are JSON on stdout, and `[log]` is for all routes",
        "access_log log_format open_log_file_cache",
    ),
    (
        Outcome::Lost,
        "the log is on stderr, and `log.level` is for all routes",
        "error_log",
    ),
    (
        Outcome::Needless,
        "refusals are logged with their reason, and counted in metrics",
        "limit_req_log_level limit_conn_log_level",
    ),
    (
        Outcome::Lost,
        "tidegate has no variables; write one route for each case",
        "map geo split_clients set geoip_country geoip_city geoip_org geoip_proxy geoip2 perl_set js_set \
      userid_name map_hash",
    ),
    (
        Outcome::Lost,
        "tidegate has no `if`; write one route for each case, with the condition in `match`",
        "if",
    ),
    (
        Outcome::Lost,
        "paths are changed by `strip_prefix`, `add_prefix` and `rewrite` of a route",
        "rewrite break",
    ),
    (
        Outcome::Lost,
        "the body of a refusal is a file in `[routes.refusal]`; errors of services are passed on as they are",
        "error_page proxy_intercept_errors",
    ),
    (
        Outcome::Lost,
        "the system's resolver finds addresses (/etc/resolv.conf)",
        "resolver resolver_timeout",
    ),
    (
        Outcome::Lost,
        "the gateway chooses cipher suites and curves, all with forward secrecy",
        "ssl_ciphers ssl_conf_command ssl_prefer_server_ciphers ssl_dhparam ssl_ecdh_curve \
      proxy_ssl_ciphers proxy_ssl_protocols proxy_ssl_conf_command",
    ),
    (
        Outcome::Lost,
        "tidegate does not staple OCSP responses",
        "ssl_stapling ssl_stapling_verify ssl_trusted_certificate ssl_stapling_file ssl_stapling_responder",
    ),
    (
        Outcome::Lost,
        "tidegate reads no revocation lists",
        "proxy_ssl_crl",
    ),
    (
        Outcome::Lost,
        "keys must not be encrypted",
        "ssl_password_file proxy_ssl_password_file",
    ),
    (
        Outcome::Lost,
        "tidegate is for HTTP only, not for TCP, UDP or mail",
        "stream mail",
    ),
    (
        Outcome::Lost,
        "tidegate does not limit the speed of bodies",
        "limit_rate limit_rate_after proxy_limit_rate",
    ),
    (
        Outcome::Lost,
        "use `mirror` of a route, which names an upstream",
        "mirror mirror_request_body",
    ),
    (
        Outcome::Lost,
        "tidegate does not change bodies",
        "sub_filter sub_filter_once sub_filter_types sub_filter_last_modified addition_types add_before_body \
      add_after_body ssi ssi_types xslt_stylesheet image_filter",
    ),
    (
        Outcome::Lost,
        "`response.locations = true` removes the domain of a server from cookies, and changes no other",
        "proxy_cookie_domain",
    ),
    (
        Outcome::Lost,
        "metrics are on the admin listener, at /metrics",
        "stub_status status_zone vhost_traffic_status vhost_traffic_status_zone",
    ),
    (
        Outcome::Lost,
        "HTTP/3 is not supported",
        "http3 http3_hq http3_max_concurrent_streams http3_stream_buffer_size quic_retry quic_gso quic_host_key \
      quic_bpf quic_active_connection_id_limit",
    ),
    (
        Outcome::Lost,
        "tidegate has no separate time for sending; see `timeouts.idle`",
        "send_timeout proxy_send_timeout",
    ),
    (
        Outcome::Lost,
        "see `timeouts.idle` and `timeouts.body` of a route",
        "client_body_timeout",
    ),
    (
        Outcome::Lost,
        "connections are closed by time (`pool.max_lifetime`, `timeouts.keep_alive`), not after a number of requests",
        "keepalive_requests keepalive_time",
    ),
    (
        Outcome::Lost,
        "requests are passed on with their fields and bodies",
        "proxy_pass_request_body proxy_set_body proxy_method",
    ),
    (
        Outcome::Unguarded,
        "the service gets the fields of the client here; name those that it must not get in `remove_headers`",
        "proxy_pass_request_headers",
    ),
    (
        Outcome::Lost,
        "the system chooses the address from which services are reached",
        "proxy_bind",
    ),
    (
        Outcome::Lost,
        "use `balance = \"hash\"` with `hash_key`, such as a cookie",
        "sticky sticky_cookie_insert",
    ),
    (
        Outcome::Unguarded,
        "use `identify` with API keys, tokens, or a service that is asked (docs/identities.md)",
        "auth_basic auth_basic_user_file auth_request auth_request_set auth_jwt auth_jwt_key_file \
      auth_jwt_key_request auth_digest auth_ldap auth_pam auth_oidc",
    ),
    (
        Outcome::Unguarded,
        "tidegate has nothing like it",
        "satisfy secure_link secure_link_md5 secure_link_secret valid_referers proxy_ssl_verify_depth modsecurity \
      modsecurity_rules_file modsecurity_rules access_by_lua_block access_by_lua_file access_by_lua \
      ssl_reject_handshake ssl_verify_depth ssl_crl ssl_ocsp ssl_ocsp_responder ssl_ocsp_cache js_access",
    ),
];

/// A value, why directives with it are not needed, and the names of these.
pub(super) type Usual = (&'static str, &'static str, &'static str);

/// Values with which the gateway does the same.
pub(super) const USUAL: &[Usual] = &[
    (
        "off",
        "the gateway does not do it anyway",
        "gzip gzip_vary gzip_static gunzip brotli brotli_static zstd proxy_cache proxy_store expires charset \
      proxy_intercept_errors ssl_stapling ssl_stapling_verify ssl_ocsp mirror ssi auth_basic auth_request \
      auth_jwt modsecurity ssl_reject_handshake ssl_early_data http3 proxy_bind proxy_cookie_domain \
      proxy_cookie_flags proxy_request_buffering proxy_force_ranges client_body_in_file_only slice",
    ),
    (
        "0",
        "the gateway does not do it anyway",
        "slice limit_rate limit_rate_after proxy_limit_rate",
    ),
    (
        "on",
        "the gateway always does it",
        "proxy_pass_request_body proxy_pass_request_headers",
    ),
    ("all", "all conditions of a route have to hold", "satisfy"),
];

/// Values with which the gateway does something else, and what.
pub(super) const UNUSUAL: &[Usual] = &[
    (
        "off",
        "repeated slashes count as one when a route is chosen; the path is forwarded as it was received",
        "merge_slashes",
    ),
    (
        "off",
        "sessions of TLS are resumed by tickets, whose keys change every six hours",
        "ssl_session_tickets",
    ),
    (
        "off",
        "a response without a length is sent in chunks",
        "chunked_transfer_encoding",
    ),
    (
        "1.0",
        "services get requests of HTTP/1.1",
        "proxy_http_version",
    ),
];
