//! Pairs: `SERVICE=NUMBER` and `KEY=VALUE`.

/// `web=3`.
pub(crate) fn scale(text: &str) -> Result<(String, u32), String> {
    let wrong = || format!("`{text}` is no scale: write `SERVICE=NUMBER`");
    let (service, number) = text.split_once('=').ok_or_else(wrong)?;
    if service.is_empty() {
        return Err(wrong());
    }
    Ok((service.to_owned(), number.parse().map_err(|_| wrong())?))
}

/// `KEY=VALUE`, or `KEY` alone for the value it has here (no variable, when it has none).
pub(crate) fn variable(text: &str) -> Result<(String, Option<String>), String> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    if key.is_empty() {
        return Err(format!("`{text}` is no variable: write `KEY=VALUE`"));
    }
    Ok((key.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_names_a_service_and_a_number() {
        assert_eq!(scale("web=3"), Ok(("web".into(), 3)));
        for wrong in ["web", "web=", "=3", "web=-1", "web=x"] {
            assert!(scale(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_variable_may_have_any_value() {
        assert_eq!(variable("A=b=c"), Ok(("A".into(), Some("b=c".into()))));
        assert_eq!(variable("A="), Ok(("A".into(), Some(String::new()))));
        assert_eq!(variable("A"), Ok(("A".into(), None)));
        assert!(variable("=x").is_err());
    }
}
