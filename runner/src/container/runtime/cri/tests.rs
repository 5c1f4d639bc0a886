//! A server stands in for CRI-O, which Debian does not have: it answers as CRI-O 1.29 does, in the fields that are
//! read here.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::UnixListener;

use super::*;

const ID: &str = "7d0f9b1f6d1b5c2c6a0f6cb2b7f8d5f8e2a3c1b4d5e6f708192a3b4c5d6e7f80";

/// What the server does.
#[derive(Clone, Copy, Default)]
struct Manners {
    only_v1alpha2: bool,
    has_events: bool,
}

async fn serve(socket: &Path, manners: Manners) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(move |request| answer(request, manners));
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move { connection.await.ok() });
        }
    });
}

async fn answer(
    request: Request<Incoming>,
    manners: Manners,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let package = if manners.only_v1alpha2 { "runtime.v1alpha2" } else { "runtime.v1" };
    let method = path.strip_prefix(&format!("/{package}.RuntimeService/")).unwrap_or_default();
    let reply = match method {
        "Version" => Some(VersionResponse { runtime_name: "cri-o".to_owned() }.encode_to_vec()),
        "ListContainers" => {
            let filter = ListContainersRequest::decode(&body[5..]).unwrap().filter.unwrap_or_default();
            let containers = if filter.id.is_empty() || filter.id == ID { vec![container()] } else { vec![] };
            Some(ListContainersResponse { containers }.encode_to_vec())
        }
        "ContainerStatus" => {
            let info =
                r#"{"sandboxID":"5","pid":4711,"runtimeSpec":{"ociVersion":"1.0.2"},"privileged":false}"#;
            Some(
                ContainerStatusResponse { info: [("info".to_owned(), info.to_owned())].into() }
                    .encode_to_vec(),
            )
        }
        "PodSandboxStatus" => Some(PodSandboxStatusResponse { status: Some(sandbox()) }.encode_to_vec()),
        "GetContainerEvents" if manners.has_events => {
            let event = |kind| ContainerEvent { container_id: ID.to_owned(), kind };
            // Created, started.
            let frames = [framed(&event(0).encode_to_vec()), framed(&event(1).encode_to_vec())].concat();
            return Ok(Response::new(Full::from(frames).with_trailers(trailers(0))));
        }
        _ => None,
    };
    let (bytes, code) = reply.map_or((Vec::new(), UNIMPLEMENTED), |reply| (framed(&reply), 0));
    Ok(Response::new(Full::from(bytes).with_trailers(trailers(code))))
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
}

async fn trailers(code: u32) -> Option<Result<HeaderMap, Infallible>> {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-status", code.into());
    Some(Ok(headers))
}

fn map(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn container() -> Container {
    let image = "sha256:".to_owned() + &"a".repeat(64);
    Container {
        id: ID.to_owned(),
        pod_sandbox_id: "5".repeat(64),
        metadata: Some(ContainerMetadata { name: "web".to_owned() }),
        image: Some(ImageSpec { image, user_specified_image: "quay.io/team/web:1@sha256:00".to_owned() }),
        image_ref: "quay.io/team/web@sha256:beef".to_owned(),
        labels: map(&[
            ("io.kubernetes.container.name", "web"),
            ("io.kubernetes.pod.name", "web-6f7-abcde"),
            ("io.kubernetes.pod.namespace", "prod"),
            ("io.kubernetes.pod.uid", "u-1"),
        ]),
        image_id: "a".repeat(64),
    }
}

fn sandbox() -> PodSandboxStatus {
    PodSandboxStatus {
        metadata: Some(PodSandboxMetadata {
            name: "web-6f7-abcde".to_owned(),
            uid: "u-1".to_owned(),
            namespace: "prod".to_owned(),
        }),
        labels: map(&[
            ("app", "web"),
            ("pod-template-hash", "6f7"),
            ("io.kubernetes.pod.name", "web-6f7-abcde"),
        ]),
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn with_server(manners: Manners, work: impl AsyncFnOnce(Arc<Cri>)) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("crio.sock");
    block_on(async {
        serve(&socket, manners).await;
        work(Arc::new(Cri::new(socket.clone(), "cri-o"))).await;
    });
}

#[test]
fn all_that_is_known_of_a_pods_container_is_told_in_both_versions() {
    for only_v1alpha2 in [false, true] {
        with_server(Manners { only_v1alpha2, ..Manners::default() }, async |cri| {
            let details = cri.details(ID).await.unwrap().unwrap();
            assert_eq!(details.pid, Some(4711));
            assert_eq!((details.name.as_str(), details.runtime), ("web", "cri-o"));
            assert_eq!(details.image_name, "quay.io/team/web:1");
            assert_eq!(details.image_digest, "sha256:beef");
            assert_eq!(details.image_id, "sha256:".to_owned() + &"a".repeat(64));
            let pod = &details.pod;
            assert_eq!(
                (pod.namespace.as_str(), pod.name.as_str(), pod.uid.as_str()),
                ("prod", "web-6f7-abcde", "u-1")
            );
            assert_eq!(pod.labels, map(&[("app", "web"), ("pod-template-hash", "6f7")]));
            assert_eq!(pod.owner, Some(("ReplicaSet", "web-6f7".to_owned())));
            assert_eq!(pod.sandbox_id, "5".repeat(64));
            assert!(!details.is_sandbox());
            assert_eq!(cri.list().await.unwrap().len(), 1);
            let start = Start { id: ID.to_owned(), bundle: "/b".into(), namespace: None };
            assert_eq!(cri.starting(&start).await.unwrap().unwrap().name, "web");
            let other = Start { id: "other".to_owned(), bundle: "/b".into(), namespace: None };
            assert_eq!(cri.starting(&other).await.unwrap(), None);
        });
    }
}

#[test]
fn events_tell_of_starts() {
    with_server(Manners { has_events: true, ..Manners::default() }, async |cri| {
        let mut changes = cri.changes().await.unwrap();
        assert_eq!(changes.next().await.unwrap(), Some(Change::One(ID.to_owned())));
        assert_eq!(changes.next().await.unwrap(), None);
    });
}

#[test]
fn without_events_the_list_is_asked_for_again() {
    with_server(Manners::default(), async |cri| {
        let mut changes = cri.changes().await.unwrap();
        assert_eq!(changes.next().await.unwrap(), Some(Change::All));
        assert_eq!(changes.next().await.unwrap(), Some(Change::All));
    });
}
