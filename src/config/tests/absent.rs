//! Warnings about values that no request has, and changes to what no service
//! sends.

use super::{
    super::Code,
    APP,
    warnings::{fine, fine_route, last_line, route},
};

#[test]
fn values_that_no_request_has_are_reported_wherever_they_are_used() {
    let subject = "`{tls:subject}` never has a value";
    let header = "have it sent as `x-y`";
    for (place, says) in [("{tls:subject}", subject), ("{header:X_Y}", header)] {
        for changes in ["request", "response"] {
            let keys = format!("{changes}.set_headers = {{ x-a = \"a {place}\" }}");
            route(&keys, Code::NeverMatches, says);
        }
    }
    route(
        "match = { headers = { X_Y = \"1\" } }",
        Code::NeverMatches,
        header,
    );
    let log = format!(
        "{APP}[[routes]]\nname = \"app\"\nupstream = \"app\"\n[log]\nfields = [\"header:X_Y\"]"
    );
    last_line(&log, Code::NeverMatches, header);
    fine(&format!(
        "[[listeners]]\nbind = \"0.0.0.0:80\"\nunderscores = \"keep\"\n{log}"
    ));
    fine_route("match = { headers = { X-Y = \"1\" } }");
}

#[test]
fn locations_of_responses_that_no_service_sends_are_reported() {
    let says = "no service responds here";
    for action in [
        "respond = {}",
        "redirect = { to = \"https://a.example{path}\" }",
    ] {
        let route =
            format!("[[routes]]\nname = \"a\"\n{action}\nresponse = {{ locations = true }}\n");
        last_line(&route, Code::NoEffect, says);
        let inherited = route.replace("response = { locations = true }", "");
        fine(&format!(
            "[defaults.response]\nlocations = true\n{inherited}"
        ));
    }
    fine_route("response = { locations = true }");
}
