//! Runs in `bench-guest`'s guest: `bench-witness fragment DIRECTORY COUNT BYTES`, `bench-witness write-file DIRECTORY`,
//! `bench-witness watch DIRECTORY FILE DEVICE…`.

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    trimtab_tests::bench::guest::in_the_guest(&words)
}
