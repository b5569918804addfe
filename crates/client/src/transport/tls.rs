//! Certificates and the proxy of a connection, and the errors of their handshakes.

use std::fs;
use std::path::Path;

use reqwest::{Certificate, ClientBuilder, Identity};

use crate::config::Transport;
use crate::error::{Error, ErrorKind, Result, chain};

pub(crate) fn configure(mut builder: ClientBuilder, transport: &Transport) -> Result<ClientBuilder> {
    if let Some(file) = &transport.ca_file {
        let certificates = Certificate::from_pem_bundle(&read("ca_file", file)?);
        let certificates = certificates.map_err(|reason| unfit("ca_file", file, chain(&reason)))?;
        if certificates.is_empty() {
            return Err(unfit("ca_file", file, "It holds no certificate in PEM.".into()));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    if let Some((certificate, key)) = &transport.client_identity {
        let mut pem = read("client_cert_file", certificate)?;
        pem.push(b'\n');
        pem.append(&mut read("client_key_file", key)?);
        let identity = Identity::from_pem(&pem)
            .map_err(|reason| unfit("client_cert_file", certificate, chain(&reason)))?;
        builder = builder.identity(identity);
    }
    if !transport.verify_certificate {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    let Some(proxy) = &transport.proxy else {
        // Proxies of the PostgreSQL server's environment are not meant for this connection.
        return Ok(builder.no_proxy());
    };
    let mut settings = reqwest::Proxy::all(&proxy.url).map_err(|reason| {
        Error::new(ErrorKind::Definition, "option \"proxy\" is no address of a proxy").detail(chain(&reason))
    })?;
    if let Some((user, password)) = &proxy.credentials {
        settings = settings.basic_auth(user, password.expose());
    }
    Ok(builder.proxy(settings))
}

fn read(option: &str, file: &Path) -> Result<Vec<u8>> {
    fs::read(file).map_err(|reason| unfit(option, file, reason.to_string()))
}

/// The error does not show contents of the file.
fn unfit(option: &str, file: &Path, reason: String) -> Error {
    Error::new(
        ErrorKind::Definition,
        format!("could not use the file \"{}\" of option \"{option}\"", file.display()),
    )
    .detail(reason)
    .hint("It must hold PEM, and be readable for the user that runs PostgreSQL.")
}

/// The error for a failed handshake, by the message of rustls.
pub(crate) fn refusal(host: &str, words: &str, has_identity: bool) -> Option<Error> {
    // The alert comes from the site, and is about our certificate.
    if words.contains("received fatal alert") {
        let (message, hint) = if has_identity {
            (
                format!("\"{host}\" did not accept the client certificate"),
                "Check the server options \"client_cert_file\" and \"client_key_file\": the site must know their authority.",
            )
        } else if words.contains("CertificateRequired") || words.contains("HandshakeFailure") {
            (
                format!("\"{host}\" requires a client certificate"),
                "Set the server options \"client_cert_file\" and \"client_key_file\".",
            )
        } else {
            return None;
        };
        return Some(Error::new(ErrorKind::Connect, message).hint(hint));
    }

    const CLOCK: &str = "Check the clock of this machine; if it is right, the site needs a new certificate.";
    if !words.contains("certificate") {
        return None;
    }
    let (message, hint) = if words.contains("UnknownIssuer") {
        (
            format!("the certificate of \"{host}\" is not from an authority that this machine trusts"),
            "Set the server option \"ca_file\" to the certificate of the authority, or add that to the system's.",
        )
    } else if words.contains("expired") || words.contains("Expired") {
        (format!("the certificate of \"{host}\" has expired"), CLOCK)
    } else if words.contains("not valid yet") || words.contains("NotValidYet") {
        (format!("the certificate of \"{host}\" is not valid yet"), CLOCK)
    } else if words.contains("not valid for name") || words.contains("NotValidForName") {
        (
            format!("the certificate of \"{host}\" is for another host"),
            "Set the server option \"url\" to the name that the certificate was issued for.",
        )
    } else {
        (
            format!("the certificate of \"{host}\" was not accepted"),
            "It must be valid now, for this host name, and issued by an authority that this machine trusts.",
        )
    };
    Some(Error::new(ErrorKind::Connect, message).hint(hint))
}
