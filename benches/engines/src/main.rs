//! Loads key-ordered rows of sealed-record size into one engine, reads them at random, changes some durably, and prints
//! one line of figures. Called once per engine and size by `scripts/bench-registry engines`.

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use fjall::{Database as Fjall, Keyspace, KeyspaceCreateOptions, PersistMode};
use redb::{Database as Redb, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use rusqlite::{Connection, params};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Memory every engine may use for pages, as the gateway's default.
const CACHE_BYTES: usize = 256 << 20;
const READS: u64 = 200_000;
const CHANGES_PER_COMMIT: u64 = 4_000;
const COMMITS: u64 = 20;
const TABLE: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("records");

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: drivegate-engines redb|fjall|sqlite COUNT FOLDER";
    let (Some(engine), Some(count), Some(folder)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err(usage.into());
    };
    let (count, folder) = (count.parse()?, Path::new(&folder));
    std::fs::create_dir_all(folder)?;
    match engine.as_str() {
        "redb" => measure("redb", Rows(count), &mut OnRedb::open(folder)?, folder),
        "fjall" => measure("fjall", Rows(count), &mut OnFjall::open(folder)?, folder),
        "sqlite" => measure("SQLite", Rows(count), &mut OnSqlite::open(folder)?, folder),
        _ => Err(usage.into()),
    }
}

/// What is asked of an engine.
trait Engine {
    fn load(&mut self, rows: Rows) -> Outcome<()>;
    fn read(&mut self, key: &[u8; 16]) -> Outcome<usize>;
    /// Replaces rows in one durable commit.
    fn change(&mut self, rows: &[([u8; 16], Vec<u8>)]) -> Outcome<()>;
}

fn measure(name: &str, rows: Rows, engine: &mut dyn Engine, folder: &Path) -> Outcome<()> {
    let begin = Instant::now();
    engine.load(rows)?;
    let load = begin.elapsed();
    let bytes = folder_bytes(folder)?;
    let mut chance = Chance(7);
    let mut read = |count: u64, times: &mut Vec<u64>| -> Outcome<()> {
        for _ in 0..count {
            let key = rows.key(chance.below(rows.0));
            let begin = Instant::now();
            black_box(engine.read(&key)?);
            times.push(begin.elapsed().as_nanos() as u64);
        }
        Ok(())
    };
    read(READS, &mut Vec::new())?;
    let mut times = Vec::new();
    read(READS, &mut times)?;
    times.sort_unstable();
    let micros = |share: f64| times[(times.len() as f64 * share) as usize] as f64 / 1_000.0;
    let mut changing = std::time::Duration::ZERO;
    let mut chance = Chance(11);
    for commit in 0..COMMITS {
        let pick = |_| {
            let index = chance.below(rows.0);
            (rows.key(index), rows.value(index ^ commit))
        };
        let batch: Vec<_> = (0..CHANGES_PER_COMMIT).map(pick).collect();
        let begin = Instant::now();
        engine.change(&batch)?;
        changing += begin.elapsed();
    }
    println!(
        "{name}\t{}\t{:.1}\t{:.0}\t{:.1}\t{:.1}\t{:.1}\t{:.0}\t{}",
        rows.0,
        load.as_secs_f64(),
        rows.0 as f64 / load.as_secs_f64(),
        bytes as f64 / rows.0 as f64,
        micros(0.5),
        micros(0.99),
        (COMMITS * CHANGES_PER_COMMIT) as f64 / changing.as_secs_f64(),
        rss_anon_mib()?,
    );
    Ok(())
}

/// The rows: keys in order and yet spread evenly, values as long as sealed records are and as random.
#[derive(Clone, Copy)]
struct Rows(u64);

impl Rows {
    fn key(self, index: u64) -> [u8; 16] {
        let spacing = u128::MAX / u128::from(self.0);
        (u128::from(index) * spacing + u128::from(Chance(index).next()) % spacing).to_be_bytes()
    }

    fn value(self, index: u64) -> Vec<u8> {
        let mut chance = Chance(!index);
        let length = 110 + chance.below(60) as usize;
        let mut value: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| chance.next().to_be_bytes()).collect();
        value.truncate(length);
        value
    }
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

fn folder_bytes(folder: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { folder_bytes(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

fn rss_anon_mib() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() / 1_024)
}

struct OnRedb(Redb);

impl OnRedb {
    fn open(folder: &Path) -> Outcome<Self> {
        Ok(Self(redb::Builder::new().set_cache_size(CACHE_BYTES).create(folder.join("records.redb"))?))
    }
}

impl Engine for OnRedb {
    fn load(&mut self, rows: Rows) -> Outcome<()> {
        let transaction = self.0.begin_write()?;
        let mut table = transaction.open_table(TABLE)?;
        let mut cursor = table.upper_bound_mut(std::ops::Bound::<&[u8; 16]>::Unbounded)?;
        for index in 0..rows.0 {
            cursor.insert_before(&rows.key(index), rows.value(index).as_slice())?;
        }
        cursor.close()?;
        drop(table);
        Ok(transaction.commit()?)
    }

    fn read(&mut self, key: &[u8; 16]) -> Outcome<usize> {
        // A gateway's reader keeps its snapshot while nothing changes; opening one is part of a lone look-up.
        let reading = self.0.begin_read()?;
        let found = reading.open_table(TABLE)?.get(key)?.ok_or("missing")?;
        Ok(found.value().len())
    }

    fn change(&mut self, rows: &[([u8; 16], Vec<u8>)]) -> Outcome<()> {
        let transaction = self.0.begin_write()?;
        let mut table = transaction.open_table(TABLE)?;
        for (key, value) in rows {
            black_box(table.get(key)?.ok_or("missing")?.value().len());
            table.insert(key, value.as_slice())?;
        }
        drop(table);
        Ok(transaction.commit()?)
    }
}

struct OnFjall(Fjall, Keyspace);

impl OnFjall {
    fn open(folder: &Path) -> Outcome<Self> {
        let database = Fjall::builder(folder.join("fjall")).cache_size(CACHE_BYTES as u64).open()?;
        let keyspace = database.keyspace("records", KeyspaceCreateOptions::default)?;
        Ok(Self(database, keyspace))
    }
}

impl Engine for OnFjall {
    fn load(&mut self, rows: Rows) -> Outcome<()> {
        let mut ingestion = self.1.start_ingestion()?;
        for index in 0..rows.0 {
            ingestion.write(rows.key(index), rows.value(index))?;
        }
        ingestion.finish()?;
        Ok(self.0.persist(PersistMode::SyncAll)?)
    }

    fn read(&mut self, key: &[u8; 16]) -> Outcome<usize> {
        Ok(self.1.get(key)?.ok_or("missing")?.len())
    }

    fn change(&mut self, rows: &[([u8; 16], Vec<u8>)]) -> Outcome<()> {
        let mut batch = self.0.batch();
        for (key, value) in rows {
            black_box(self.1.get(key)?.ok_or("missing")?.len());
            batch.insert(&self.1, *key, value.as_slice());
        }
        batch.commit()?;
        Ok(self.0.persist(PersistMode::SyncAll)?)
    }
}

struct OnSqlite(Connection);

impl OnSqlite {
    fn open(folder: &Path) -> Outcome<Self> {
        let connection = Connection::open(folder.join("records.sqlite"))?;
        let kibibytes = CACHE_BYTES / 1_024;
        connection.execute_batch(&format!(
            "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA cache_size = -{kibibytes};
             CREATE TABLE records (subject BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;"
        ))?;
        Ok(Self(connection))
    }
}

impl Engine for OnSqlite {
    fn load(&mut self, rows: Rows) -> Outcome<()> {
        let transaction = self.0.transaction()?;
        let mut insert = transaction.prepare("INSERT INTO records VALUES (?1, ?2)")?;
        for index in 0..rows.0 {
            insert.execute(params![rows.key(index).as_slice(), rows.value(index)])?;
        }
        drop(insert);
        transaction.commit()?;
        self.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    fn read(&mut self, key: &[u8; 16]) -> Outcome<usize> {
        let mut select = self.0.prepare_cached("SELECT record FROM records WHERE subject = ?1")?;
        Ok(select.query_row([key.as_slice()], |row| Ok(row.get_ref(0)?.as_blob()?.len()))?)
    }

    fn change(&mut self, rows: &[([u8; 16], Vec<u8>)]) -> Outcome<()> {
        let transaction = self.0.transaction()?;
        let mut select = transaction.prepare_cached("SELECT record FROM records WHERE subject = ?1")?;
        let mut update = transaction.prepare_cached("UPDATE records SET record = ?2 WHERE subject = ?1")?;
        for (key, value) in rows {
            black_box(select.query_row([key.as_slice()], |row| Ok(row.get_ref(0)?.as_blob()?.len()))?);
            update.execute(params![key.as_slice(), value])?;
        }
        drop((select, update));
        Ok(transaction.commit()?)
    }
}
