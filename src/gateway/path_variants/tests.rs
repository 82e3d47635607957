//! Known disguises of a path, and paths that have none.

use super::*;

fn reads(path: &[u8], wanted: &[u8]) -> bool {
    any(path, |variant| variant.path == wanted)
}

#[test]
fn ordinary_paths_are_plain() {
    for path in [
        &b"/a/b-c_d.e"[..],
        b"//a",
        b"/.hidden/c~d@e",
        b"/caf%C3%A9/%E0%A4%95/%F0%9F%98%80",
        b"/caf\xc3\xa9",
        b"/my%20file.txt",
        b"/100%",
        b"/%7Euser",
        b"/a..b/.c",
    ] {
        assert!(is_plain(path), "{}", String::from_utf8_lossy(path));
    }
}

#[test]
fn every_known_disguise_is_seen_through() {
    for path in [
        &b"/x%2f..%2fadmin"[..],
        b"/%2fadmin",
        b"/x/..%5cadmin",
        b"/x/..\\admin",
        b"/x/%252e%252e/admin",
        b"/x%252f..%252fadmin",
        b"/x%25252f..%25252fadmin",
        b"/x/%c0%ae%c0%ae/admin",
        b"/x/%e0%80%ae./admin",
        b"/x/%f0%80%80%ae./admin",
        b"/%c1%a1dmin",
        b"/%e0%81%a1dmin",
        b"/x%c0%af..%c0%afadmin",
        b"/x\xc0\xaf..\xc0\xafadmin",
        b"/x/..;/admin",
        b"/x/..;a=b/admin;c",
        b"/x/..%3b/admin",
        b"/admin;%2fb%2f..%2f..%2fc",
        b"/admin%00.png",
        b"/admin%3fx",
        b"/admin%23x",
        b"/admin%20",
        b"/admin%09",
        b"/admin\xa0",
        b"/%2561dmin",
        b"/x%u002f..%u002fadmin",
        b"/x%uff0f..%uff0fadmin",
        b"/x%u2215..%u2215admin",
        b"/x%u2216%u2024%u2024%u2044admin",
    ] {
        let shown = String::from_utf8_lossy(path);
        assert!(!is_plain(path), "{shown} is not plain");
        assert!(reads(path, b"/admin"), "{shown}");
    }
}

#[test]
fn dot_segments_are_read_in_each_way_that_is_in_use() {
    assert!(reads(b"/admin/../x", b"/admin/../x") && reads(b"/admin/../x", b"/x"));
    assert!(reads(b"/admin//../x", b"/admin/x") && reads(b"/admin//../x", b"/x"));
    assert!(
        !reads(b"/admin//x", b"/admin//x"),
        "repeated slashes alone mean nothing else"
    );
}

#[test]
fn a_path_that_leads_above_its_beginning_climbs() {
    let climbs = |path: &[u8]| any(path, |variant| variant.climbs);
    for path in [
        &b"/..%2fx"[..],
        b"/a%2f..%2f..",
        b"..%5cx",
        b"/..;/x",
        b"/%252e%252e/x",
        b"/a/..%2f..%2fb",
    ] {
        assert!(climbs(path), "{}", String::from_utf8_lossy(path));
    }
    for path in [&b"/a%2fb"[..], b"/a/..%2fb", b"a%2f..%2fb", b"/...%2f", b""] {
        assert!(!climbs(path), "{}", String::from_utf8_lossy(path));
    }
}

#[test]
fn a_variant_is_spelled_as_patterns_are() {
    assert!(reads(b"/x%2f..%2fcaf%c3%a9", b"/caf%C3%A9"));
}
