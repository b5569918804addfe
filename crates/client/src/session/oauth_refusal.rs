//! Why no access token was given: the server's refusals, and the errors that tell a user what to do about them.

use oauth2::RequestTokenError;
use oauth2::basic::{BasicErrorResponse, BasicErrorResponseType};

use crate::config::{App, Config};
use crate::error::{Error, ErrorKind};
use crate::session::store::Grant;
use crate::transport::token_answer::{UNEXPLAINED, WEB_PAGE};

/// A request for tokens that failed.
type Failure = RequestTokenError<Error, BasicErrorResponse>;

/// Whether the server refused the grant.
pub(crate) fn is_invalid_grant(failure: &Failure) -> bool {
    matches!(failure, RequestTokenError::ServerResponse(answer) if *answer.error() == BasicErrorResponseType::InvalidGrant)
}

/// The server's code for the refusal.
pub(crate) fn code_of(failure: &Failure) -> Option<&str> {
    match failure {
        RequestTokenError::ServerResponse(answer) => Some(answer.error().as_ref()),
        _ => None,
    }
}

/// Whether the server refused the refresh token rather than the application: every refusal that does not name the
/// application.
pub(crate) fn is_of_grant(failure: &Failure) -> bool {
    use BasicErrorResponseType::{InvalidClient, InvalidScope, UnauthorizedClient, UnsupportedGrantType};
    match failure {
        RequestTokenError::ServerResponse(answer) => !matches!(
            answer.error(),
            InvalidClient | InvalidScope | UnauthorizedClient | UnsupportedGrantType
        ),
        _ => false,
    }
}

/// The error for an answer that is no answer to a request for tokens.
pub(crate) fn unreadable() -> Error {
    Error::new(ErrorKind::Protocol, "could not read the server's answer to a request for an access token")
}

/// The server's words, without anything that could be a token.
pub(crate) fn words_of(failure: &Failure) -> String {
    match failure {
        RequestTokenError::ServerResponse(answer) => {
            let code = answer.error().as_ref().to_owned();
            if code == UNEXPLAINED || code == WEB_PAGE {
                return answer.error_description().cloned().unwrap_or_default();
            }
            answer.error_description().map_or(code.clone(), |words| format!("{code}: {words}"))
        }
        _ => String::new(),
    }
}

/// The error for a refusal that is not about the grant.
pub(crate) fn refusal(config: &Config, app: &App, last: Option<&Grant>, failure: Failure) -> Error {
    let words = words_of(&failure);
    let told = |message: &str| Error::new(ErrorKind::Credentials, message).detail(&words);
    match failure {
        RequestTokenError::Request(error) => error,
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => unreadable()
            .hint("Check the option \"url\": a proxy or another site may have answered."),
        RequestTokenError::ServerResponse(answer) if answer.error().as_ref() == WEB_PAGE => unreadable()
            .detail(&words)
            .hint("Check the option \"url\": a proxy or another site may have answered."),
        RequestTokenError::ServerResponse(answer) => match answer.error() {
            BasicErrorResponseType::InvalidClient => {
                let worked = last.is_some_and(|grant| grant.client_secret == app.client_secret);
                if worked && app.client_secret.is_some() {
                    told("the client secret is no longer accepted; it has probably expired").hint(
                        "Shared secrets have an expiry date on screen SM303010. Add a new one there, then ALTER USER \
                         MAPPING … OPTIONS (SET client_secret …). The authorization itself stays.",
                    )
                } else {
                    told("the server did not accept the client ID or the client secret").hint(
                        "Copy both from screen SM303010 into the user mapping. The ID is GUID@Tenant; the application \
                         must be active, and a secret is shown only once, when it is made.",
                    )
                }
            }
            BasicErrorResponseType::UnauthorizedClient | BasicErrorResponseType::UnsupportedGrantType => {
                told("the connected application does not allow this way to sign in").hint(format!(
                    "Its flow on screen SM303010 must fit the auth_strategy of server \"{}\": Authorization Code for \
                     OAuth, Resource Owner Password Credentials for OAuthPassword.",
                    config.server
                ))
            }
            BasicErrorResponseType::InvalidScope => told("the server did not accept the scope").hint(
                "Check the server option \"scope\". An application that is set to have no refresh tokens (screen \
                 SM303010) refuses offline_access.",
            ),
            _ => told("the server did not give an access token"),
        },
    }
}

/// How to authorize again.
pub(crate) fn authorize_hint(server: &str) -> String {
    let literal = server.replace('\'', "''");
    format!(
        "Run SELECT acumatica_authorize_url('{literal}'), open the address it returns, and pass the address the \
             browser ends at to acumatica_authorize('{literal}', …)."
    )
}

/// The error for a grant that has ended.
pub(crate) fn authorization_ended(server: &str, words: &str) -> Error {
    Error::new(ErrorKind::Credentials, format!("the authorization of server \"{server}\" has ended"))
        .detail(words)
        .hint(authorize_hint(server))
}

/// The error for the answer to an authorization that is not pending.
pub(crate) fn nothing_begun(server: &str, had_state: bool) -> Error {
    let detail = if had_state {
        "The state in the address does not come from acumatica_authorize_url() within the last hour, or it was \
         used already."
    } else {
        "acumatica_authorize_url() was not called in the last hour."
    };
    Error::new(ErrorKind::Credentials, "this answer belongs to no authorization that was begun here")
        .detail(detail)
        .hint(authorize_hint(server))
}
