#!/usr/bin/env python3
"""Computes what the pipeline `delays` should make of ../flights/input/flights.jsonl.gz, by itself, into expected/.

All flights are taken as one partition, in the order in which they became known. A line of a file in expected/ is a record's key, a
tab and its value. `--check` writes nothing and compares. Another number as argument is another lateness in hours: it is only counted.
"""
import datetime
import gzip
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
LATENESS_HOURS = 6
HOUR = 3_600_000
MINUTE = 60_000


def milliseconds(text):
    return int(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()) * 1000


def scheduled(flight):
    return milliseconds(flight["time_hour"]) + flight["minute"] * MINUTE


def known(flight):
    """A flight is known of when it has left; a cancelled one at the end of its day, five hours behind UTC."""
    if flight["dep_delay"] is None:
        day = datetime.datetime(flight["year"], flight["month"], flight["day"], tzinfo=datetime.timezone.utc)
        return int((day + datetime.timedelta(hours=29)).timestamp()) * 1000
    return scheduled(flight) + flight["dep_delay"] * MINUTE


def compute(lines, lateness_hours):
    hours, late, newest = {}, [], 0
    flights = [(json.loads(line), line.rstrip("\n")) for line in lines]
    flights.sort(key=lambda flight: known(flight[0]))
    for flight, line in flights:
        time = scheduled(flight)
        newest = max(newest, time)
        hour = time - time % HOUR
        route = flight["origin"] + "-" + flight["dest"]
        if hour + HOUR <= newest - lateness_hours * HOUR:
            late.append(route + "\t" + line + "\n")
        else:
            hours.setdefault((hour, route), []).append(flight["dep_delay"])
    rows = []
    for (hour, route), delays in sorted(hours.items()):
        origin, dest = route.split("-")
        left = [delay for delay in delays if delay is not None]
        row = {
            "origin": origin, "dest": dest, "hour": hour, "flights": len(delays), "cancelled": len(delays) - len(left),
            "delay_sum": sum(left), "delay_max": max(left, default=None),
            "delay_mean": sum(left) / len(left) if left else None,
        }
        rows.append(route + "\t" + json.dumps(row, separators=(",", ":")) + "\n")
    return rows, late


def main():
    with gzip.open(HERE / "../flights/input/flights.jsonl.gz", "rt", encoding="utf-8") as lines:
        lines = list(lines)
    for argument in sys.argv[1:]:
        if argument.isdigit():
            rows, late = compute(lines, int(argument))
            print(f"{argument} hours: {len(rows)} rows, {len(late)} late")
            return
    for name, records in zip(("delays", "delays-late"), compute(lines, LATENESS_HOURS)):
        path = HERE / f"expected/{name}.tsv.gz"
        content = "".join(records).encode()
        if "--check" in sys.argv:
            if gzip.decompress(path.read_bytes()) != content:
                sys.exit(f"{path} is not what the input gives")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(gzip.compress(content, 9, mtime=0))
        print(f"{name}: {len(records)} records")


main()
