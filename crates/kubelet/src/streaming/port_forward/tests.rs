//! A client that forwards ports, against a runtime that only pretends.

use bytes::Bytes;
use tokio::io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::*;
use crate::streaming::spdy::{Frame, HeaderDecoder, HeaderEncoder, frame};

/// Hands the runtime's ends of sessions to the test.
struct Pretended(mpsc::Sender<UnixStream>);

#[async_trait::async_trait]
impl Forwarder for Pretended {
    async fn open(&self, port: u16) -> io::Result<RuntimeStream> {
        if port == 1 {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = UnixStream::pair()?;
        self.0.send(theirs).await.map_err(io::Error::other)?;
        let (reader, writer) = ours.into_split();
        Ok(RuntimeStream { reader: FrameReader::new(reader), writer: FrameWriter::new(writer) })
    }

    fn pod(&self) -> String {
        "web_default(u1)".into()
    }
}

struct Client {
    reader: ReadHalf<DuplexStream>,
    writer: WriteHalf<DuplexStream>,
    encoder: HeaderEncoder,
    decoder: HeaderDecoder,
    sessions: mpsc::Receiver<UnixStream>,
}

fn client() -> Client {
    let (a, b) = tokio::io::duplex(8 << 10);
    let (sender, sessions) = mpsc::channel(1);
    tokio::spawn(serve(b, Arc::new(Pretended(sender))));
    let (reader, writer) = tokio::io::split(a);
    Client {
        reader,
        writer,
        encoder: HeaderEncoder::default(),
        decoder: HeaderDecoder::default(),
        sessions,
    }
}

impl Client {
    async fn send(&mut self, frame: Frame) {
        self.writer.write_all(&frame::write(&frame, &mut self.encoder)).await.expect("sent");
    }

    /// Opens both streams of a connection: `error` is `first`, `data` the next.
    async fn open(&mut self, first: u32, port: &str) {
        for (stream, kind) in [(first, "error"), (first + 2, "data")] {
            let headers = [("streamtype", kind), ("port", port), ("requestid", "0")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()));
            self.send(Frame::SynStream { stream, headers: headers.into(), fin: false }).await;
        }
    }

    /// All data of a stream until its end.
    async fn drain(&mut self, wanted: u32) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(frame) =
            frame::read(&mut self.reader, &mut self.decoder).await.expect("frame")
        {
            if let Frame::Data { stream, data, fin } = frame
                && stream == wanted
            {
                all.extend_from_slice(&data);
                if fin {
                    break;
                }
            }
        }
        all
    }
}

#[tokio::test]
async fn exec_13_half_closed_connection_still_gets_its_answer() {
    let mut client = client();
    client.open(1, "8080").await;
    let pod = client.sessions.recv().await.expect("a session");
    client.send(Frame::Data { stream: 3, data: Bytes::from_static(b"question"), fin: true }).await;
    let (reader, writer) = pod.into_split();
    let (mut reader, mut writer) = (FrameReader::new(reader), FrameWriter::new(writer));
    assert_eq!(reader.next().await.expect("read").expect("a frame").payload, "question");
    assert!(
        reader.next().await.expect("read").expect("a frame").payload.is_empty(),
        "the half-close"
    );
    let answering = tokio::spawn(async move {
        let answer = async {
            writer.data(Channel::Stdout as u8, &vec![9u8; 2 << 20]).await.expect("written");
            writer.close(Channel::Stdout as u8).await.expect("written");
            writer.data(Channel::Error as u8, br#"{"status":"Success"}"#).await.expect("written");
        };
        tokio::select! {
            biased;
            _ = reader.next() => panic!("the runtime takes the end of the socket for the end of the client"),
            () = answer => {}
        }
        writer.shutdown().await.expect("shut down");
        reader.next().await.expect("read")
    });
    assert_eq!(client.drain(3).await.len(), 2 << 20);
    assert_eq!(answering.await.expect("the runtime"), None, "the socket closes after the answer");
}

#[tokio::test]
async fn refused_connection_is_told_on_the_error_stream() {
    let mut client = client();
    client.open(1, "1").await;
    let text = String::from_utf8(client.drain(1).await).expect("text");
    assert_eq!(text, "error forwarding port 1 to pod web_default(u1): connection refused");
    client.open(5, "none").await;
    let text = String::from_utf8(client.drain(5).await).expect("text");
    assert!(text.ends_with("unable to parse \"none\" as a port"), "{text}");
}
