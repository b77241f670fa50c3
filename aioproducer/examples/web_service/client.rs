//! What a client of the service sends and reads, over any connection.

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A request whose body is yet to come.
pub(crate) struct Upload<S> {
    stream: S,
    path: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Upload<S> {
    /// Sends a request without its body.
    pub(crate) async fn request(stream: S, method: &str, path: &str, length: usize) -> anyhow::Result<Self> {
        Self::send(stream, method, path, length, "").await
    }

    /// Begins a POST whose body is yet to come. The service has begun to serve it when this ends, as it has asked for the body.
    pub(crate) async fn begin(stream: S, path: &str, length: usize) -> anyhow::Result<Self> {
        let mut upload = Self::send(stream, "POST", path, length, "Expect: 100-continue\r\n").await?;
        let mut go_on = [0; 25];
        upload.stream.read_exact(&mut go_on).await?;
        ensure!(&go_on == b"HTTP/1.1 100 Continue\r\n\r\n", "{}", String::from_utf8_lossy(&go_on));
        Ok(upload)
    }

    async fn send(mut stream: S, method: &str, path: &str, length: usize, header: &str) -> anyhow::Result<Self> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\nConnection: close\r\n{header}\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        Ok(Self { stream, path: path.to_owned() })
    }

    /// Sends the body and reads the answer.
    pub(crate) async fn finish(mut self, body: &[u8]) -> anyhow::Result<Answer> {
        // A server that refuses a body need not read it.
        let _ = self.stream.write_all(body).await;
        let mut answer = Vec::new();
        let read = self.stream.read_to_end(&mut answer).await;
        Answer::parse(&String::from_utf8_lossy(&answer)).with_context(|| format!("{}: {read:?}", self.path))
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Answer {
    fn parse(answer: &str) -> anyhow::Result<Self> {
        let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no answer: {answer:?}"))?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        let body = if body.is_empty() { Value::Null } else { serde_json::from_str(body)? };
        Ok(Self { status, head: format!("{head}\r\n").to_lowercase(), body })
    }

    /// This answer if it has the status.
    pub(crate) fn expect(self, status: u16) -> anyhow::Result<Self> {
        ensure!(self.status == status, "{status} was expected: {self:?}");
        println!("{status} {}", self.body);
        Ok(self)
    }
}
