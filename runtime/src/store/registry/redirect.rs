//! Where an answer sends a request on to.
//!
//! We follow ourselves and not the HTTP client: another host is asked without credentials,
//! without our certificate, and without trust in the registry's own authorities.

use reqwest::header::LOCATION;
use reqwest::{Method, Response, StatusCode, Url};

/// No request is sent on more often.
pub(super) const MAX_REDIRECTS: usize = 5;

/// The next address; `None` when this is the answer.
///
/// # Errors
/// Why the registry's wish is not followed, for people.
pub(super) fn next(response: &Response, method: &Method) -> Result<Option<Url>, String> {
    let place = response.headers().get(LOCATION).map(|value| value.to_str().unwrap_or_default());
    target(response.status(), place, response.url(), method)
}

fn target(
    status: StatusCode,
    place: Option<&str>,
    from: &Url,
    method: &Method,
) -> Result<Option<Url>, String> {
    let reads = [Method::GET, Method::HEAD].contains(method);
    let sends_on = match status.as_u16() {
        301..=303 => reads,
        307 | 308 => true,
        _ => false,
    };
    let Some(place) = place.filter(|_| sends_on) else { return Ok(None) };
    let shown = place.chars().take(200).collect::<String>().escape_debug().to_string();
    let url = from.join(place).map_err(|_| format!("to `{shown}`, which is no address"))?;
    match url.scheme() {
        "https" => Ok(Some(url)),
        "http" if from.scheme() == "http" => Ok(Some(url)),
        "http" => Err(format!("from HTTPS to plain HTTP, to `{shown}`")),
        _ => Err(format!("to `{shown}`, which is no address of a registry")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_registries_are_followed_and_none_away_from_tls() {
        let told = |status: u16, from: &str, place: &str, method: Method| {
            let status = StatusCode::from_u16(status).unwrap();
            let next = target(status, Some(place), &Url::parse(from).unwrap(), &method);
            next.map(|url| url.map(|url| url.to_string())).unwrap_or_else(Some)
        };
        let get = |from, place| told(307, from, place, Method::GET).unwrap();
        assert_eq!(get("https://a/v2/x", "/y?z"), "https://a/y?z");
        assert_eq!(get("https://a/v2/x", "https://b/y"), "https://b/y");
        assert_eq!(get("http://a/x", "http://b/y"), "http://b/y");
        assert_eq!(get("https://a/x", "http://b/"), "from HTTPS to plain HTTP, to `http://b/`");
        let odd = "which is no address of a registry";
        assert_eq!(
            get("http://a/x", "file:///etc/passwd"),
            format!("to `file:///etc/passwd`, {odd}")
        );
        assert_eq!(get("http://a/x", "http://"), "to `http://`, which is no address");
        assert_eq!(told(302, "http://a/", "/y", Method::POST), None);
        assert_eq!(told(308, "http://a/", "/y", Method::PUT).unwrap(), "http://a/y");
        assert_eq!(told(200, "http://a/", "/y", Method::GET), None);
    }
}
