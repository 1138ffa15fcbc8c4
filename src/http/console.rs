//! Serves the console, a page for operators and developers, built from `console/` and compiled in.
//!
//! The page contains no secrets and needs no key. It gets all data from the API.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};

use super::AdminState;

const PAGE: &str = include_str!("../../console/dist/index.html");
const SCRIPT: &str = include_str!("../../console/dist/app.js");
const STYLE: &str = include_str!("../../console/dist/app.css");

/// `GET /`: redirects to the console. The path is relative, because a proxy may serve this port below a path.
pub(super) async fn redirect() -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, "console")).finish()
}

/// `GET /console`
pub(super) async fn page(admin: web::Data<AdminState>, request: HttpRequest) -> HttpResponse {
    let policy = content_security_policy(&admin.instance.socket_url(&request));
    with_security_headers(HttpResponse::Ok())
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .body(PAGE)
}

/// `GET /console/app.js`
pub(super) async fn script() -> HttpResponse {
    with_security_headers(HttpResponse::Ok()).content_type("text/javascript; charset=utf-8").body(SCRIPT)
}

/// `GET /console/app.css`
pub(super) async fn style() -> HttpResponse {
    with_security_headers(HttpResponse::Ok()).content_type("text/css; charset=utf-8").body(STYLE)
}

fn with_security_headers(mut response: HttpResponseBuilder) -> HttpResponseBuilder {
    response
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        // A new version of the gateway has a new page.
        .insert_header((header::CACHE_CONTROL, "no-cache"));
    response
}

/// Allows only the own script and style, and connections only to this port and to the socket.
fn content_security_policy(socket_url: &str) -> String {
    let (scheme, rest) = socket_url.split_once("://").unwrap_or(("ws", socket_url));
    let authority = rest.split('/').next().unwrap_or(rest);
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {scheme}://{authority}; \
         img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_may_reach_only_its_port_and_the_socket() {
        let policy = content_security_policy("wss://rt.example.com/gateway");
        assert!(policy.contains("connect-src 'self' wss://rt.example.com; "), "{policy}");
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    }

    #[test]
    fn the_page_has_no_inline_script_or_style() {
        assert!(PAGE.contains(r#"<script type="module" src="console/app.js"></script>"#));
        for inline in ["<style", " style=", " onclick", "javascript:"] {
            assert!(!PAGE.contains(inline), "{inline}");
        }
        assert_eq!(PAGE.matches("<script").count(), 1);
    }
}
