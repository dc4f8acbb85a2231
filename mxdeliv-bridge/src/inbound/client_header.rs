//! Who a request comes from, as nginx says.

use std::io;
use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName};
use chatmail::Config;
use chatmail::log_limit::LogLimit;

use crate::daemon::StartError;

/// The header field that names the client.
#[derive(Debug)]
pub(crate) struct ClientHeader {
    name: HeaderName,
    complaints: LogLimit,
}

impl ClientHeader {
    /// The field of a configuration.
    ///
    /// # Errors
    /// `mxdeliv_client_header` names no header field.
    pub(crate) fn from_config(config: &Config) -> Result<Self, StartError> {
        let text = &config.mxdeliv_client_header;
        let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
            let text = format!("mxdeliv_client_header = {text} names no header field");
            let error = io::Error::new(io::ErrorKind::InvalidInput, text);
            StartError::bind(&config.mxdeliv_listen)(error)
        })?;
        Ok(Self {
            name,
            complaints: LogLimit::new(),
        })
    }

    /// The client. `None`, and a complaint in the log, when nginx does not say: then nothing may be done for
    /// whoever it is.
    pub(crate) fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let mut values = headers.get_all(&self.name).iter();
        let address: Option<IpAddr> = match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok().and_then(|text| text.parse().ok()),
            _ => None,
        };
        if address.is_none()
            && let Some(suppressed) = self.complaints.allow()
        {
            let name = &self.name;
            tracing::error!(
                suppressed,
                "A request without one {name} that is an IP address; nginx must have \
                 `proxy_set_header {name} $remote_addr;`"
            );
        }
        address.map(|address| address.to_canonical())
    }
}
