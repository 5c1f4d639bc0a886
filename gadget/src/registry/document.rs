//! One small document from anywhere on the web, such as the manifest of a run.

use super::{
    Client, Error, Fault,
    http::{Request, Scope, host},
};
use reqwest::{Method, Url};

impl Client {
    /// What is at `url`, plain http or https, of at most `limit` bytes. Nobody's credentials are sent.
    ///
    /// # Errors
    /// An address that is none, a server that cannot be reached or does not answer with the document, one that is
    /// too long.
    pub fn document(&self, url: &str, limit: u64) -> Result<Vec<u8>, Error> {
        let scope = Scope { registry: String::new(), repository: String::new(), push: false };
        let work = async {
            let address = Url::parse(url).map_err(|error| Fault::Address(error.to_string()))?;
            if !matches!(address.scheme(), "http" | "https") {
                return Err(Fault::Address("it is no web address".to_owned()));
            }
            let who = host(&address);
            let request = Request::new(&scope, Method::GET, address);
            let response = self.http.follow(&request, None).await?;
            let status = response.status();
            if !status.is_success() {
                return Err(Fault::Status { who, status: status.as_u16(), said: String::new(), after: None });
            }
            self.http.document(response, "the document", limit).await
        };
        self.wait("fetch", url, work)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    /// A server of one answer; returns its address.
    fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        format!("http://{address}/run.yaml")
    }

    #[test]
    fn a_document_is_fetched_whole_or_not_at_all() {
        let client = Client::new(Config::default()).unwrap();
        let found = server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nkind:");
        assert_eq!(client.document(&found, 100).unwrap(), b"kind:");
        let error = |url: &str, limit| client.document(url, limit).unwrap_err().to_string();
        let long = server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nkind:");
        assert!(error(&long, 4).contains("the document"));
        let missing = server("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert!(error(&missing, 4).contains("404"));
        assert!(error("file:///etc/passwd", 4).contains("no web address"));
        assert!(error("http://", 4).starts_with("cannot fetch http://: "));
    }
}
