//! A client written here against the server, over an in-memory pipe.

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};

use super::*;

/// A client as spdystream is one: no settings, no window updates.
struct Client {
    reader: ReadHalf<DuplexStream>,
    writer: WriteHalf<DuplexStream>,
    encoder: HeaderEncoder,
    decoder: HeaderDecoder,
}

fn pair() -> (Client, Connection) {
    let (a, b) = tokio::io::duplex(8 << 10);
    let (reader, writer) = tokio::io::split(a);
    (
        Client {
            reader,
            writer,
            encoder: HeaderEncoder::default(),
            decoder: HeaderDecoder::default(),
        },
        serve(b),
    )
}

impl Client {
    async fn send(&mut self, frame: Frame) {
        let bytes = frame::write(&frame, &mut self.encoder);
        self.writer.write_all(&bytes).await.expect("sent");
    }

    async fn open(&mut self, stream: u32, kind: &str) {
        let headers = [("streamtype".to_owned(), kind.to_owned())].into();
        self.send(Frame::SynStream { stream, headers, fin: false }).await;
    }

    async fn next(&mut self) -> Option<Frame> {
        frame::read(&mut self.reader, &mut self.decoder).await.expect("frame")
    }

    /// The next frame that is no window update.
    async fn next_but_updates(&mut self) -> Option<Frame> {
        loop {
            match self.next().await {
                Some(Frame::WindowUpdate { .. }) => {}
                other => return other,
            }
        }
    }
}

#[tokio::test]
async fn stream_is_replied_to_before_data() {
    let (mut client, mut server) = pair();
    client.open(1, "stdout").await;
    let mut stream = server.accept().await.expect("stream");
    assert_eq!(stream.headers["streamtype"], "stdout");
    stream.writer.write(Bytes::from_static(b"hi")).await.expect("written");
    assert!(matches!(client.next().await, Some(Frame::SynReply { stream: 1, .. })));
    let data = Frame::Data { stream: 1, data: Bytes::from_static(b"hi"), fin: false };
    assert_eq!(client.next().await, Some(data));
}

#[tokio::test]
async fn megabytes_flow_both_ways_with_half_close() {
    const SIZE: usize = 3 << 20;
    let (mut client, mut server) = pair();
    client.open(1, "data").await;
    let Stream { mut reader, mut writer, .. } = server.accept().await.expect("stream");
    let echo = tokio::spawn(async move {
        let mut total = 0;
        while let Some(data) = reader.next().await {
            total += data.len();
            writer.write(data).await.expect("written");
        }
        writer.finish().await.expect("finished");
        server.close().await;
        total
    });
    let Client { mut reader, mut writer, mut encoder, mut decoder } = client;
    let sender = tokio::spawn(async move {
        for piece in vec![7; SIZE].chunks(32 << 10) {
            let frame = Frame::Data { stream: 1, data: Bytes::copy_from_slice(piece), fin: false };
            writer.write_all(&frame::write(&frame, &mut encoder)).await.expect("sent");
        }
        let fin = Frame::Data { stream: 1, data: Bytes::new(), fin: true };
        writer.write_all(&frame::write(&fin, &mut encoder)).await.expect("sent");
        writer
    });
    let (mut received, mut updates, mut goaway) = (0, 0, false);
    while let Some(frame) = frame::read(&mut reader, &mut decoder).await.expect("frame") {
        match frame {
            Frame::Data { data, .. } => received += data.len(),
            Frame::WindowUpdate { stream: 1, delta } => updates += delta as usize,
            Frame::GoAway { last_stream } => goaway = last_stream == 1,
            _ => {}
        }
    }
    drop(sender.await.expect("sender"));
    drop(reader);
    assert_eq!((received, updates, goaway), (SIZE, SIZE, true));
    assert_eq!(echo.await.expect("echo"), SIZE);
}

#[tokio::test]
async fn announced_window_is_kept() {
    let (mut client, mut server) = pair();
    client.send(Frame::Settings { initial_window: Some(10) }).await;
    client.open(1, "stdout").await;
    let mut stream = server.accept().await.expect("stream");
    let writing = tokio::spawn(async move {
        stream.writer.write(Bytes::from(vec![1; 25])).await.expect("written");
        stream
    });
    assert!(matches!(client.next().await, Some(Frame::SynReply { .. })));
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let Some(Frame::Data { data, .. }) = client.next().await else { panic!("data") };
        sizes.push(data.len());
        client.send(Frame::Ping(sizes.len() as u32 * 2 - 1)).await;
        assert!(
            matches!(client.next().await, Some(Frame::Ping(_))),
            "nothing is sent beyond the window"
        );
        client.send(Frame::WindowUpdate { stream: 1, delta: 10 }).await;
    }
    assert_eq!(sizes, [10, 10, 5]);
    writing.await.expect("writer");
}

#[tokio::test]
async fn reset_ends_one_stream_only() {
    let (mut client, mut server) = pair();
    client.open(1, "data").await;
    client.open(3, "data").await;
    let mut first = server.accept().await.expect("stream");
    let mut second = server.accept().await.expect("stream");
    client.send(Frame::RstStream { stream: 1, status: 5 }).await;
    assert_eq!(first.reader.next().await, None);
    first.writer.broken_token().cancelled().await;
    assert!(first.writer.write(Bytes::from_static(b"x")).await.is_err());
    client.send(Frame::Data { stream: 3, data: Bytes::from_static(b"y"), fin: true }).await;
    assert_eq!(second.reader.next().await, Some(Bytes::from_static(b"y")));
    assert_eq!(second.reader.next().await, None);
    second.writer.write(Bytes::from_static(b"z")).await.expect("written");
}

#[tokio::test]
async fn wrong_stream_numbers_are_reset() {
    let (mut client, mut server) = pair();
    client.open(3, "data").await;
    let _first = server.accept().await.expect("stream");
    assert!(matches!(client.next().await, Some(Frame::SynReply { stream: 3, .. })));
    for stream in [2, 3, 1] {
        client.open(stream, "data").await;
        assert_eq!(client.next_but_updates().await, Some(Frame::RstStream { stream, status: 1 }));
    }
    client.send(Frame::Data { stream: 9, data: Bytes::from_static(b"?"), fin: false }).await;
    assert_eq!(client.next_but_updates().await, Some(Frame::RstStream { stream: 9, status: 2 }));
}

#[tokio::test]
async fn garbage_ends_the_connection() {
    let (mut client, mut server) = pair();
    client.writer.write_all(b"\x80\x02\x00\x01\x00\x00\x00\x00").await.expect("sent");
    assert!(server.accept().await.is_none());
    drop(server);
    let mut rest = Vec::new();
    client.reader.read_to_end(&mut rest).await.expect("end");
}

#[tokio::test]
async fn damaged_frames_are_read_or_refused() {
    let mut encoder = HeaderEncoder::default();
    let headers: Headers = [("streamtype".to_owned(), "stdin".to_owned())].into();
    let frames = [
        Frame::Settings { initial_window: Some(1 << 16) },
        Frame::SynStream { stream: 1, headers: headers.clone(), fin: false },
        Frame::Data { stream: 1, data: Bytes::from_static(b"text"), fin: false },
        Frame::WindowUpdate { stream: 1, delta: 8 },
        Frame::Ping(1),
        Frame::SynStream { stream: 3, headers, fin: true },
        Frame::RstStream { stream: 3, status: 5 },
        Frame::GoAway { last_stream: 3 },
    ];
    let bytes: Vec<u8> =
        frames.iter().flat_map(|frame| frame::write(frame, &mut encoder).to_vec()).collect();
    for place in 0..bytes.len() {
        for damage in [0x00, 0x01, 0x08, 0x7f, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[place] = damage;
            let (mut reader, mut decoder) = (damaged.as_slice(), HeaderDecoder::default());
            let mut read = 0;
            while let Ok(Some(_)) = frame::read(&mut reader, &mut decoder).await {
                read += 1;
            }
            // No frame is shorter than its head of eight bytes.
            assert!(read <= bytes.len() / 8, "{place} {damage}");
        }
    }
}
