//! What this machine does without any of ours: by it the figures of two machines, or of two hours of one, can be compared.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const LASTS: Duration = Duration::from_secs(2);
/// Of a request as of its answer: about what a call of the service is.
const BYTES: usize = 1024;
/// A peer that says nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Round trips a second over loopback, one connection for each processor, by plain threads.
pub(crate) fn round_trips_per_second() -> io::Result<f64> {
    let processors = thread::available_parallelism()?.get();
    let began = Instant::now();
    let until = began + LASTS;
    let made: io::Result<Vec<u32>> = thread::scope(|scope| {
        let connections: Vec<_> =
            (0..processors).map(|_| scope.spawn(move || one_connection(until))).collect();
        let joined = connections.into_iter().map(|connection| connection.join());
        joined.map(|made| made.unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))).collect()
    });
    let made: f64 = made?.into_iter().map(f64::from).sum();
    Ok(made / began.elapsed().as_secs_f64())
}

fn one_connection(until: Instant) -> io::Result<u32> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut client = prepared(TcpStream::connect(listener.local_addr()?)?)?;
    let server = prepared(listener.accept()?.0)?;
    thread::scope(|scope| {
        scope.spawn(move || echo(server));
        let mut message = [0; BYTES];
        let mut made = 0;
        while Instant::now() < until {
            client.write_all(&message)?;
            client.read_exact(&mut message)?;
            made += 1;
        }
        // The echo ends with its connection.
        client.shutdown(std::net::Shutdown::Both)?;
        Ok(made)
    })
}

fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    Ok(stream)
}

/// Answers until the other side goes, which is how it ends.
fn echo(mut stream: TcpStream) {
    let mut message = [0; BYTES];
    while stream.read_exact(&mut message).and_then(|()| stream.write_all(&message)).is_ok() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_makes_round_trips() {
        let made = one_connection(Instant::now() + Duration::from_millis(20)).unwrap();
        assert!(made > 0);
    }
}
