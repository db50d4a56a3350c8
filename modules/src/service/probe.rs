//! One try of a readiness probe. Why a try failed is told in words: it becomes the error of a start
//! that takes too long.

use std::time::Duration;

use http_body_util::Empty;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{net::TcpStream, process::Command, time::timeout};

use super::spec::{Launch, Owner, Probe};
use crate::command;

/// Longest time of one try.
const TRY_MAX: Duration = Duration::from_secs(10);

/// Tries once; `Ok` if the service is ready. Cancel-safe.
pub(super) async fn attempt(probe: &Probe, launch: &Launch, left: Duration) -> Result<(), String> {
    let limit = TRY_MAX.min(left.max(Duration::from_millis(1)));
    let tried = match probe {
        Probe::Alive => return Ok(()),
        Probe::Exec(words) => return exec(words, launch, limit).await,
        Probe::Tcp(address) => timeout(limit, tcp(address)).await,
        Probe::Http(uri) => timeout(limit, http(uri)).await,
    };
    tried.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
}

async fn exec(words: &[String], launch: &Launch, limit: Duration) -> Result<(), String> {
    let Some((program, args)) = words.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(&launch.env).current_dir(&launch.folder);
    if let Some(Owner { uid, gid, .. }) = launch.user {
        command.uid(uid).gid(gid);
    }
    let finished = command::run(command, limit).await.map_err(|error| error.to_string())?;
    if finished.status.success() {
        return Ok(());
    }
    Err(format!("{program:?}: {}{}", finished.status, command::after_colon(&finished.output)))
}

async fn tcp(address: &str) -> Result<(), String> {
    TcpStream::connect(address).await.map(drop).map_err(|error| format!("{address}: {error}"))
}

async fn http(uri: &hyper::Uri) -> Result<(), String> {
    let client: Client<HttpConnector, Empty<bytes::Bytes>> =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    match client.get(uri.clone()).await {
        Ok(response) if response.status().as_u16() < 400 => Ok(()),
        Ok(response) => Err(format!("{uri} answered {}", response.status())),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|c| format!(": {c}"));
            Err(format!("{uri}: {error}{}", cause.unwrap_or_default()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    fn launch() -> Launch {
        Launch {
            program: "/bin/sh".into(),
            name: "sh".to_owned(),
            args: Vec::new(),
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            folder: "/".into(),
            user: None,
        }
    }

    async fn check(probe: &Probe) -> Result<(), String> {
        attempt(probe, &launch(), Duration::from_secs(10)).await
    }

    fn words(words: &[&str]) -> Probe {
        Probe::Exec(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[tokio::test]
    async fn a_command_is_ready_by_its_exit_code() {
        assert_eq!(check(&words(&["true"])).await, Ok(()));
        let error = check(&words(&["sh", "-c", "echo not yet; exit 1"])).await.unwrap_err();
        assert!(error.contains("not yet"), "{error}");
        assert!(check(&words(&["no-such-program"])).await.is_err());
    }

    #[tokio::test]
    async fn a_port_is_ready_when_somebody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let probe = Probe::Tcp(listener.local_addr().unwrap().to_string());
        assert_eq!(check(&probe).await, Ok(()));
        drop(listener);
        assert!(check(&probe).await.unwrap_err().contains("refused"));
    }

    #[tokio::test]
    async fn a_url_is_ready_by_its_status() {
        for (status, ready) in [("200 OK", true), ("302 Found", true), ("503 Busy", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1_024];
                let count = stream.read(&mut request).await.unwrap();
                assert!(request[..count].starts_with(b"GET /healthz HTTP/1.1"));
                let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(reply.as_bytes()).await.unwrap();
            });
            let probe = Probe::Http(format!("http://{address}/healthz").parse().unwrap());
            let answer = check(&probe).await;
            assert_eq!(answer.is_ok(), ready, "{status}: {answer:?}");
            server.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_peer_that_never_answers_does_not_hold_the_try() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let answer = attempt(&Probe::Http(uri), &launch(), Duration::from_millis(100)).await;
        assert_eq!(answer, Err("no answer within 100ms".to_owned()));
    }
}
