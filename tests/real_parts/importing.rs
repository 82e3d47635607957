//! `tidegate import`: small configurations of NGINX become the files beside
//! them, which `check` accepts; NGINX accepts the sources; and both answer
//! alike.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
};

use crate::support::{Client, Gateway, Message, Upstream, gateway::request, ok};

/// Configurations that a plain NGINX does not accept, because they have
/// directives of modules.
const OF_MODULES: [&str; 1] = ["odd.conf"];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import")
}

/// A copy of the corpus, with the certificates that it names.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for folder in ["snippets", "certs"] {
        fs::create_dir(place.path().join(folder)).unwrap();
    }
    for folder in ["", "snippets"] {
        for entry in fs::read_dir(corpus().join(folder)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let to = place.path().join(folder).join(entry.file_name());
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    for name in ["shop", "tenants", "example"] {
        write_certificate(&place.path().join("certs"), name);
    }
    place
}

/// Writes `NAME.pem` and `NAME.key`.
pub(crate) fn write_certificate(folder: &Path, name: &str) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new([format!("{name}.example.com")])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
    fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

/// The names of the configurations, without `.conf`.
fn names() -> Vec<String> {
    let entries = fs::read_dir(corpus()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names
        .filter_map(|name| Some(name.strip_suffix(".conf")?.to_owned()))
        .collect();
    names.sort();
    assert!(names.len() > 4, "{names:?}");
    names
}

fn tidegate(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Run with `UPDATE_IMPORTS=1` to write the files.
#[test]
fn each_configuration_becomes_the_file_beside_it_which_check_accepts() {
    let place = place();
    for name in names() {
        let (source, target) = (format!("{name}.conf"), format!("{name}.toml"));
        let output = tidegate(place.path(), &["import", &source]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{source}: {said}");
        assert!(!said.contains("on this machine"), "{source}: {said}");
        let made = String::from_utf8(output.stdout).unwrap();
        let beside = corpus().join(&target);
        if std::env::var_os("UPDATE_IMPORTS").is_some() {
            fs::write(&beside, &made).unwrap();
        }
        let kept = fs::read_to_string(&beside).unwrap_or_default();
        assert!(kept == made, "{} is out of date:\n{made}", beside.display());
        // Written to a file, it is the same.
        tidegate(place.path(), &["import", &source, "-o", "out.toml"]);
        assert_eq!(
            fs::read_to_string(place.path().join("out.toml")).unwrap(),
            made
        );
        let checked = tidegate(place.path(), &["check", "out.toml"]);
        let said = String::from_utf8(checked.stderr).unwrap();
        assert!(checked.status.success(), "{target}: {said}");
    }
}

#[test]
fn no_line_of_a_source_is_dropped_without_a_word() {
    // Every directive of this file is unknown, and each has its line.
    let place = tempfile::tempdir().unwrap();
    let lines: Vec<_> = (1..=50)
        .map(|number| format!("strange_{number} a b;"))
        .collect();
    let text = format!(
        "http {{\nserver {{\nlocation / {{\n{}\nproxy_pass http://127.0.0.1:1;\n}}\n}}\n}}\n",
        lines.join("\n")
    );
    fs::write(place.path().join("nginx.conf"), text).unwrap();
    let made = tidegate(place.path(), &["import", "nginx.conf"]).stdout;
    let made = String::from_utf8(made).unwrap();
    for number in 1..=50 {
        let comment = format!(
            "# nginx.conf:{}: strange_{number} a b; -- not carried over: ",
            number + 3
        );
        assert!(made.contains(&comment), "{comment}\n{made}");
    }
    let strict = tidegate(place.path(), &["import", "nginx.conf", "--strict"]);
    assert_eq!(strict.status.code(), Some(1));
}

#[test]
fn a_mistake_of_the_source_names_its_file_and_line() {
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(place.path().join(name), text).unwrap();
    write("nginx.conf", "http {\n  include a.conf;\n}\n");
    for (text, told) in [
        (
            "server {\n listen 80\n}\n",
            "a.conf:2: unexpected `}`: `listen` does not end with `;`",
        ),
        ("server {\n", "a.conf:1: the block of `server` has no end"),
        ("}\n", "a.conf:1: unexpected `}`"),
        (
            "server {\n listen 80\n location / {}\n}\n",
            "a.conf:2: unexpected `{`: `listen` does not end with `;`",
        ),
        ("location /;", "a.conf:1: `location` has no block"),
        ("\n'a\n", "a.conf:2: a quote has no end"),
        ("include a.conf;\n", "a.conf:1: a.conf includes itself"),
        (
            "\ninclude missing.conf;\n",
            "a.conf:2: missing.conf cannot be read",
        ),
        (
            &"a {".repeat(40),
            "a.conf:1: more than 32 blocks within blocks",
        ),
        (
            &format!("a {};", "b".repeat(5000)),
            "a.conf:1: a word has more than 4096 bytes",
        ),
    ] {
        write("a.conf", text);
        let output = tidegate(place.path(), &["import", "nginx.conf", "-o", "out.toml"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with(&format!("error: {told}")), "{said}");
        assert_eq!(output.status.code(), Some(1));
        assert!(!place.path().join("out.toml").exists());
    }
}

fn program() -> &'static str {
    match Path::new("/usr/sbin/nginx").exists() {
        true => "/usr/sbin/nginx",
        false => "nginx",
    }
}

/// Has NGINX test a configuration.
pub(crate) fn nginx_accepts(file: &Path, folder: &Path) {
    let output = Command::new(program())
        .args(["-t", "-q", "-e", "stderr", "-c"])
        .arg(file)
        .arg("-p")
        .arg(folder)
        .output()
        .expect("nginx is missing: tests/all installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", file.display());
}

#[test]
fn nginx_accepts_the_configurations_that_are_imported() {
    let place = place();
    for name in names().into_iter().map(|name| format!("{name}.conf")) {
        if OF_MODULES.contains(&name.as_str()) {
            continue;
        }
        let text = fs::read_to_string(place.path().join(&name)).unwrap();
        let file = place.path().join(format!("whole-{name}"));
        let whole = match (text.contains("http {"), text.contains("events {")) {
            (true, true) => text,
            (true, false) => format!("events {{}}\n{text}"),
            (false, _) => format!("events {{}}\nhttp {{\n{text}\n}}\n"),
        };
        fs::write(&file, whole.replace("/var/log/nginx/", "")).unwrap();
        nginx_accepts(&file, place.path());
    }
}

/// The blocks of a page in the language of another proxy.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(page);
    let text = fs::read_to_string(file).unwrap();
    let begin = format!("```{language}\n");
    let blocks = text.split(&begin).skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap().to_owned());
    let blocks: Vec<_> = blocks.collect();
    assert!(blocks.len() > 2, "{page} has {} blocks", blocks.len());
    blocks
}

#[test]
fn the_lines_of_nginx_in_its_page_are_valid_and_can_be_imported() {
    let place = place();
    for block in blocks("from-nginx.md", "nginx") {
        let file = place.path().join("page.conf");
        fs::write(&file, format!("events {{}}\nhttp {{\n{block}\n}}\n")).unwrap();
        nginx_accepts(&file, place.path());
        let output = tidegate(place.path(), &["import", "page.conf", "-o", "page.toml"]);
        assert!(output.status.success(), "{block}: {output:?}");
        let checked = tidegate(place.path(), &["check", "page.toml"]);
        let said = String::from_utf8(checked.stderr).unwrap();
        assert!(
            checked.status.success() && said.is_empty(),
            "{block}: {said}"
        );
    }
}

#[test]
fn the_lines_of_haproxy_in_its_page_are_valid() {
    let place = place();
    let certs = place.path().join("certs");
    let [cert, key] =
        ["shop.pem", "shop.key"].map(|name| fs::read_to_string(certs.join(name)).unwrap());
    fs::write(certs.join("shop.combined.pem"), cert + &key).unwrap();
    for block in blocks("from-haproxy.md", "haproxy") {
        let file = place.path().join("haproxy.cfg");
        let defaults = "defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n";
        // A file without a listener would be refused as one that cannot start.
        let frontend = match block.contains("frontend ") {
            true => "",
            false => "frontend web\n  bind :8080\n  default_backend app\n",
        };
        fs::write(&file, format!("{defaults}{block}{frontend}")).unwrap();
        let output = Command::new("haproxy")
            .args(["-c", "-q", "-f"])
            .arg(&file)
            .current_dir(place.path())
            .output()
            .expect("haproxy is missing: tests/all installs it");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{block}\n{said}");
    }
}

/// NGINX with a configuration, killed on drop.
struct Nginx {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn nginx(http: &str) -> Nginx {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display();
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let http = http.replace("PORT", &address.port().to_string());
    let text = format!(
        "master_process off; daemon off; pid {root}/pid; error_log {root}/error;\nevents {{ worker_connections 512; }}\n\
         http {{ access_log off; client_body_temp_path {root}/a; proxy_temp_path {root}/b; fastcgi_temp_path {root}/c;\n\
         uwsgi_temp_path {root}/d; scgi_temp_path {root}/e;\n{http} }}\n"
    );
    let file = folder.path().join("nginx.conf");
    fs::write(&file, text).unwrap();
    let process = Command::new(program())
        .arg("-c")
        .arg(&file)
        .arg("-p")
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nginx is missing: tests/all installs it");
    let mut nginx = Nginx {
        process,
        address,
        _folder: folder,
    };
    while std::net::TcpStream::connect(address).is_err() {
        assert!(
            nginx.process.try_wait().unwrap().is_none(),
            "nginx has ended"
        );
        thread::yield_now();
    }
    nginx
}

/// A gateway with the same configuration, imported.
fn imported(http: &str) -> Gateway {
    let place = tempfile::tempdir().unwrap();
    let text = format!("http {{ {} }}", http.replace("PORT", "0"));
    fs::write(place.path().join("nginx.conf"), text).unwrap();
    let output = tidegate(place.path(), &["import", "nginx.conf"]);
    assert!(output.status.success(), "{output:?}");
    Gateway::start(&String::from_utf8(output.stdout).unwrap())
}

fn ask(address: SocketAddr, host: &str, path: &str) -> Message {
    let mut client = Client::connect(address);
    let host = format!("Host: {host}");
    client.exchange(request("GET", path, &[&host, "Connection: close"]))
}

/// A service that says its name, the path, the host and a field.
fn service(name: &'static str) -> Upstream {
    Upstream::answering(move |request| {
        let field = |name| request.get(name).unwrap_or("-").to_owned();
        ok(&format!(
            "{name} {} {} {}",
            request.target(),
            field("host"),
            field("x-from")
        ))
    })
}

#[test]
fn nginx_and_the_gateway_answer_alike() {
    let (first, second) = (service("first"), service("second"));
    let http = format!(
        "upstream first {{ server {}; }}
         upstream second {{ server {}; }}
         proxy_set_header Host $host;
         proxy_set_header X-From \"$request_method $host\";
         server {{
            listen 127.0.0.1:PORT;
            server_name shop.example.com *.shop.example.com;
            location / {{ proxy_pass http://first; }}
            location = /exact {{ proxy_pass http://second/other; }}
            location /api/ {{ proxy_pass http://second/v1/; }}
            location /keep {{ proxy_pass http://second; }}
            location /keep/longer {{ return 204; }}
            location ~ ^/n/[0-9]+$ {{ proxy_pass http://second; }}
            location ~* \\.PNG$ {{ return 200 picture; }}
            location ^~ /static/ {{ proxy_pass http://first; }}
            location /old {{ return 302 /new$request_uri; }}
            location /denied {{ deny all; proxy_pass http://first; }}
            location /bare {{ proxy_pass http://second; proxy_set_header X-From \"\"; proxy_set_header Host $host; }}
         }}
         server {{
            listen 127.0.0.1:PORT;
            server_name api.example.com;
            location /only {{ proxy_pass http://second; }}
            location /gone {{ return 410 gone; }}
         }}
         server {{
            listen 127.0.0.1:PORT;
            server_name secure.example.com;
            return 301 https://$host$request_uri;
         }}",
        first.address(),
        second.address()
    );
    let (nginx, gateway) = (nginx(&http), imported(&http));
    for (host, path) in [
        ("shop.example.com", "/"),
        ("shop.example.com", "/a/b?c=d"),
        ("a.b.shop.example.com", "/x"),
        ("other.example.org", "/x"),
        ("shop.example.com", "/exact"),
        ("shop.example.com", "/exact/not"),
        ("shop.example.com", "/api/orders?x=1"),
        ("shop.example.com", "/api/"),
        ("shop.example.com", "/keep"),
        ("shop.example.com", "/keep/x"),
        ("shop.example.com", "/keep/longer/x"),
        ("shop.example.com", "/n/12"),
        ("shop.example.com", "/n/12/x"),
        ("shop.example.com", "/a/b.png"),
        ("shop.example.com", "/static/b.png"),
        ("shop.example.com", "/old/x?y=z"),
        ("shop.example.com", "/denied"),
        ("shop.example.com", "/bare"),
        ("api.example.com", "/only/x"),
        ("api.example.com", "/gone"),
        ("api.example.com", "/elsewhere"),
        ("secure.example.com", "/x?y=z"),
    ] {
        let [theirs, ours] =
            [nginx.address, gateway.address()].map(|address| ask(address, host, path));
        let status = theirs.status();
        assert_eq!(ours.status(), status, "{host}{path}: {}", ours.text());
        if status < 300 || status == 410 {
            assert_eq!(ours.text(), theirs.text(), "{host}{path}");
        }
        if (300..400).contains(&status) {
            // NGINX makes a URL of a path.
            let target = theirs.get("location").unwrap();
            let own = ours.get("location").unwrap();
            assert!(target.ends_with(own), "{host}{path}: {own} for {target}");
        }
    }
}

#[test]
fn redirects_of_a_service_come_back_as_from_nginx() {
    // It knows itself by the host that it is asked for.
    let moving = Upstream::answering(|request| {
        let host = request.get("host").unwrap_or("-");
        format!(
            "HTTP/1.1 302 Found\r\nlocation: http://{host}/v1/x\r\nset-cookie: a=b; Path=/v1\r\ncontent-length: 0\r\n\r\n"
        )
    });
    let address = moving.address();
    let http = format!(
        "server {{
            listen 127.0.0.1:PORT;
            location / {{ proxy_pass http://{address}; }}
            location /api/ {{ proxy_pass http://{address}/v1/; }}
            location /off/ {{ proxy_pass http://{address}/v1/; proxy_redirect off; }}
            location /host/ {{ proxy_pass http://{address}/v1/; proxy_set_header Host $http_host; }}
         }}"
    );
    let (nginx, gateway) = (nginx(&http), imported(&http));
    let own = address.to_string();
    for (path, expected) in [
        ("/a", "http://GATEWAY/v1/x"),
        ("/api/a", "http://GATEWAY/api/x"),
        ("/off/a", "http://SERVICE/v1/x"),
        ("/host/a", "http://GATEWAY/v1/x"),
    ] {
        for address in [nginx.address, gateway.address()] {
            let host = address.to_string();
            let found = ask(address, &host, path);
            let location = found.get("location").unwrap();
            let location = location.replace(&host, "GATEWAY").replace(&own, "SERVICE");
            assert_eq!(location, expected, "{address} {path}");
            // Only a prefix that is mapped back takes paths of cookies with it.
            let is_mapped = path == "/api/a" && address != nginx.address;
            let cookie = if is_mapped {
                "a=b; Path=/api"
            } else {
                "a=b; Path=/v1"
            };
            assert_eq!(found.get("set-cookie"), Some(cookie), "{address} {path}");
        }
    }
}

#[test]
fn the_output_of_nginx_is_read_as_its_files() {
    let place = place();
    let write = |name: &str, text: &str| fs::write(place.path().join(name), text).unwrap();
    write(
        "whole.conf",
        "events {}\nhttp {\n  include sites/*.conf;\n  gzip on;\n}\n",
    );
    fs::create_dir(place.path().join("sites")).unwrap();
    write(
        "sites/b.conf",
        "server { listen 8081; ssi on;\n return 204; }\n",
    );
    write(
        "sites/a.conf",
        "# one\nserver {\n listen 8080; return 204; gunzip on; }\n",
    );
    let output = Command::new(program())
        .args(["-T", "-e", "stderr", "-p"])
        .arg(place.path())
        .args(["-c", "whole.conf"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    // People redirect both streams.
    let dump = [output.stderr, output.stdout].concat();
    fs::write(place.path().join("dump"), dump).unwrap();
    let of_files = tidegate(place.path(), &["import", "whole.conf"]).stdout;
    fs::remove_dir_all(place.path().join("sites")).unwrap();
    let of_dump = tidegate(place.path(), &["import", "dump"]).stdout;
    let [of_files, of_dump] = [of_files, of_dump].map(|made| String::from_utf8(made).unwrap());
    let root = place.path().display();
    assert!(
        of_dump.contains(&format!("# {root}/sites/a.conf:3: gunzip on; -- ")),
        "{of_dump}"
    );
    let of_dump = of_dump
        .replace(&format!("{root}/"), "")
        .replace("from dump", "from whole.conf");
    assert_eq!(of_dump, of_files.replace(&format!("{root}/"), ""));
}

#[test]
fn nginx_and_the_gateway_refuse_a_burst_alike() {
    let first = service("first");
    let http = format!(
        "limit_req_zone $binary_remote_addr zone=one:1m rate=1r/m;
         limit_req_zone $http_x_key zone=keys:1m rate=1r/m;
         limit_req_zone $binary_remote_addr zone=paced:1m rate=4r/s;
         limit_req_zone $counted_key zone=some:1m rate=1r/m;
         geo $counted {{ default 1; 127.0.0.0/8 0; }}
         map $counted $counted_key {{ 0 \"\"; 1 $binary_remote_addr; }}
         server {{
            listen 127.0.0.1:PORT;
            location / {{ limit_req zone=one burst=3 nodelay; proxy_pass http://{0}; }}
            location /key {{ limit_req zone=keys; limit_req_status 429; proxy_pass http://{0}; }}
            location /paced {{ limit_req zone=paced burst=1; proxy_pass http://{0}; }}
            location /exempt {{ limit_req zone=some; proxy_pass http://{0}; }}
         }}",
        first.address()
    );
    let (nginx, gateway) = (nginx(&http), imported(&http));
    let statuses = |address, path: &str, fields: &[&str]| -> Vec<u16> {
        let lines = [fields, &["Connection: close"]].concat();
        let ask = |_| {
            let mut client = Client::connect(address);
            client.exchange(request("GET", path, &lines)).status()
        };
        (0..6).map(ask).collect()
    };
    let at_once = |address| -> Vec<u16> {
        // All are sent before any is answered: a wait would hold up the next.
        let mut clients: Vec<_> = (0..4).map(|_| Client::connect(address)).collect();
        for client in &mut clients {
            client.send(request("GET", "/paced", &["Connection: close"]));
        }
        let mut statuses: Vec<_> = clients
            .iter_mut()
            .map(|client| client.response().status())
            .collect();
        statuses.sort_unstable();
        statuses
    };
    for (path, fields, expected) in [
        ("/", &[][..], [200, 200, 200, 200, 503, 503]),
        ("/key", &["X-Key: a"], [200, 429, 429, 429, 429, 429]),
        ("/key", &["X-Key: b"], [200, 429, 429, 429, 429, 429]),
        ("/key", &[], [200; 6]),
        ("/exempt", &[], [200; 6]),
    ] {
        let [theirs, ours] =
            [nginx.address, gateway.address()].map(|address| statuses(address, path, fields));
        assert_eq!(theirs, expected, "NGINX, {path} {fields:?}");
        assert_eq!(ours, expected, "{path} {fields:?}");
    }
    for address in [nginx.address, gateway.address()] {
        assert_eq!(at_once(address), [200, 200, 503, 503], "{address}");
    }
}

/// Locations that refuse in every way that NGINX has, and those beside them.
const GUARDED: &str = "
    server {
        listen 127.0.0.1:PORT default_server;
        rewrite ^/alias$ /admin last;
        location / { proxy_pass http://app; }
        location /admin { deny all; }
        location /office { allow 10.0.0.0/8; allow 10.0.0.0/8; deny all; proxy_pass http://app; }
        location /home { allow 127.0.0.0/8; deny all; proxy_pass http://app; }
        location /ro { limit_except GET { deny all; } proxy_pass http://app; }
        location /secret { auth_basic x; auth_basic_user_file /etc/hosts; proxy_pass http://app; }
        location /files { root /nowhere; }
        location /gone { return 410; }
        location ~ /\\.(?!well-known) { deny all; }
        location ~ ^/(?!public)hidden { return 403; }
        location ~ ^/dup/(a)\\1 { return 403; }
        location ~ ^/private/ { deny all; }
        location ~ \\.php$ { allow 127.0.0.0/8; deny all; proxy_pass http://app; }
        location ~ ^/z/ { deny all; }
        location ~ ^/z/pub { limit_except GET { deny all; } proxy_pass http://app; }
        location ~ \"^/a b\" { deny all; }
        location ~ ^/x.y$ { deny all; }
        location /tried/ { try_files /nothing @guarded; }
        location @guarded { deny all; proxy_pass http://app; }
        location /open/ { try_files /nothing @open; }
        location @open { proxy_set_header Host $http_host; proxy_pass http://app; }
        location /cond { if ($arg_x = 1) { return 403; } proxy_pass http://app; }
        location /login { if ($cookie_session = \"\") { return 302 /x; } proxy_pass http://app; }
        location /moved { if ($http_x != a) { rewrite ^ /admin last; } proxy_pass http://app; }
        location /posts { if ($request_method !~ ^(GET|HEAD)$) { return 405; } proxy_pass http://app; }
        location /led/ { rewrite ^/led/(.*)$ /private/$1 last; }
        location /harmless { if ($arg_x = 1) { set $a 1; } proxy_pass http://app; }
        location /rw/ { rewrite ^/rw/(.*)$ /new/$1 break; proxy_pass http://app; }
        location ^~ /static/ { proxy_pass http://app; }
        location /static/deep/ { deny all; }
        location /api/ {
            proxy_pass http://app;
            location ~ \\.json$ { deny all; }
            location /api/in { deny all; }
        }
    }
    server {
        listen 127.0.0.1:PORT;
        server_name closed.example.com;
        location / { deny all; }
        location /open/ { return 200 open; }
        location /served { proxy_pass http://app; }
    }
    server {
        listen 127.0.0.1:PORT;
        server_name methods.example.com;
        if ($request_method = POST) { return 405; }
        location / { proxy_pass http://app; }
    }";

/// Paths around those of the locations.
fn paths() -> Vec<String> {
    let begins = [
        "/",
        "/admin",
        "/alias",
        "/office",
        "/home",
        "/ro",
        "/secret",
        "/files",
        "/gone",
        "/hidden",
        "/dup/aa",
        "/private",
        "/z",
        "/z/pub",
        "/a b",
        "/x.y",
        "/xzy",
        "/tried",
        "/open",
        "/cond",
        "/login",
        "/moved",
        "/posts",
        "/led",
        "/harmless",
        "/rw",
        "/static",
        "/static/deep",
        "/api",
        "/api/in",
        "/served",
        "/other",
    ];
    let ends = [
        "",
        "x",
        "/",
        "/y",
        "/y.php",
        "/.git/y",
        "/.well-known/y",
        "/y.json",
        "?x=1",
    ];
    let all = begins
        .iter()
        .flat_map(|begin| ends.map(|end| format!("{begin}{end}")));
    all.map(|path| path.replace("//", "/").replace(' ', "%20"))
        .collect()
}

#[test]
fn whatever_nginx_refuses_is_refused() {
    let app = service("app");
    let http = format!("upstream app {{ server {}; }}\n{GUARDED}", app.address());
    let (nginx, gateway) = (nginx(&http), imported(&http));
    let mut opened = Vec::new();
    let mut served = Vec::new();
    for (host, method) in [
        ("any.example.com", "GET"),
        ("any.example.com", "POST"),
        ("closed.example.com", "GET"),
        ("methods.example.com", "POST"),
    ] {
        for path in paths() {
            let ask = |address| {
                let lines = [
                    &format!("Host: {host}"),
                    "Connection: close",
                    "Content-Length: 0",
                ];
                Client::connect(address).exchange(request(method, &path, &lines))
            };
            let [theirs, ours] = [nginx.address, gateway.address()].map(ask);
            let asked = format!("{method} {host}{path}");
            let is_served = ours.status() < 300;
            if is_served {
                served.push(asked.clone());
            }
            // NGINX leads clients to the path with a slash.
            let target = theirs.get("location").unwrap_or_default();
            let with_slash = format!("{}/", path.split('?').next().unwrap());
            let is_slash = theirs.status() == 301 && target.contains(&with_slash);
            if theirs.status() >= 300 && is_served && !is_slash {
                opened.push(format!(
                    "{asked}: {} of NGINX, here {}",
                    theirs.status(),
                    ours.status()
                ));
            }
        }
    }
    assert!(opened.is_empty(), "{opened:#?}");
    for path in [
        "/",
        "/home/y",
        "/ro/y",
        "/y.php",
        "/.well-known/y",
        "/open/y",
        "/posts/y",
        "/harmless",
        "/rw/y",
        "/static/y",
        "/api/y",
        "/otherx",
    ] {
        let asked = format!("GET any.example.com{path}");
        assert!(served.contains(&asked), "{asked} is refused");
    }
}
