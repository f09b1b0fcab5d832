#!/usr/bin/env python3
"""Computes what the pipeline `flights` should make of input/flights.jsonl.gz, by itself, into expected/.

A line of a file in expected/ is a record's key, a tab and its value. `--check` writes nothing and compares.
"""
import gzip
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
CARRIERS = {
    "9E": "Endeavor Air Inc.", "AA": "American Airlines Inc.", "AS": "Alaska Airlines Inc.", "B6": "JetBlue Airways",
    "DL": "Delta Air Lines Inc.", "EV": "ExpressJet Airlines Inc.", "F9": "Frontier Airlines Inc.",
    "FL": "AirTran Airways Corporation", "HA": "Hawaiian Airlines Inc.", "MQ": "Envoy Air", "OO": "SkyWest Airlines Inc.",
    "UA": "United Air Lines Inc.", "US": "US Airways Inc.", "VX": "Virgin America", "WN": "Southwest Airlines Co.",
    "YV": "Mesa Airlines Inc.",
}


def delay_class(flight):
    if flight["dep_time"] is None:
        return "cancelled"
    delay = flight["arr_delay"]
    if delay is None:
        return "diverted"
    for most, name in ((-5, "early"), (14, "on-time"), (119, "late")):
        if delay <= most:
            return name
    return "very-late"


def main():
    enriched, late = [], []
    with gzip.open(HERE / "input/flights.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            flight = json.loads(line)
            key = flight["carrier"] + str(flight["flight"])
            flight["carrier_name"] = CARRIERS[flight["carrier"]]
            flight["delay_class"] = delay_class(flight)
            record = key + "\t" + json.dumps(flight, separators=(",", ":"), ensure_ascii=False) + "\n"
            enriched.append(record)
            if flight["delay_class"] in ("cancelled", "very-late"):
                late.append(record)
    for name, records in (("flights-enriched", enriched), ("flights-late", late)):
        path = HERE / f"expected/{name}.tsv.gz"
        content = "".join(records).encode()
        if "--check" in sys.argv:
            if gzip.decompress(path.read_bytes()) != content:
                sys.exit(f"{path} is not what the input gives")
        else:
            path.write_bytes(gzip.compress(content, 9, mtime=0))
        print(f"{name}: {len(records)} records")


main()
