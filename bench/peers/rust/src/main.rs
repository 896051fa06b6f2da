// A server in the usual shape: one task per connection, one INSERT per message, one broadcast channel. SQLite as it comes: WAL, synchronous FULL.
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use rusqlite::Connection;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Shared {
    database: Mutex<Connection>,
    records: broadcast::Sender<Utf8Bytes>,
}

fn open(path: &str) -> rusqlite::Result<Connection> {
    let database = Connection::open(path)?;
    database.pragma_update(None, "journal_mode", "wal")?;
    database.pragma_update(None, "synchronous", "full")?;
    database.execute("CREATE TABLE record (id INTEGER PRIMARY KEY, data TEXT NOT NULL)", [])?;
    Ok(database)
}

fn store(shared: &Shared, data: &str) -> rusqlite::Result<()> {
    // Held until it is sent, so that records go out in the order of their ids.
    let database = shared.database.lock().unwrap();
    database.prepare_cached("INSERT INTO record (data) VALUES (?)")?.execute([data])?;
    let record = format!("{{\"offset\":{},\"data\":{}}}", database.last_insert_rowid(), data);
    let _ = shared.records.send(record.into());
    Ok(())
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let mut listens = false;
    #[allow(clippy::result_large_err)]
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        listens = request.uri().path().starts_with("/sub/");
        Ok(response)
    };
    // Subscribed before the handshake is answered: what follows is heard.
    let mut records = shared.records.subscribe();
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, look).await?;
    if listens {
        // A reader that is too slow is told so by an error, and is closed.
        loop {
            socket.send(Message::Text(records.recv().await?)).await?;
        }
    }
    drop(records);
    while let Some(message) = socket.next().await {
        if let Message::Text(text) = message? {
            let shared = shared.clone();
            tokio::task::spawn_blocking(move || store(&shared, &text)).await??;
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let path = std::env::args().nth(1).ok_or("name a database")?;
    let shared = Arc::new(Shared { database: Mutex::new(open(&path)?), records: broadcast::channel(16_384).0 });
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("ready :{}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await?;
        let shared = shared.clone();
        tokio::spawn(async move { serve(stream, shared).await });
    }
}
