"""The inspection list keeps to the capacity."""

from pathlib import Path

from click.testing import CliRunner

from npsrisk import main


def test_the_inspection_list_holds_the_capacity_of_each_office_and_day(tmp_path: Path) -> None:
    lines = [f"C{n},0.{n:03d},routine,1,Busan,2024-01-01T0{n % 9}:00:00Z" for n in range(100)]
    (tmp_path / "s.csv").write_text(
        "consignment_id,score,band,model_version,office,received_at\n" + "\n".join(lines) + "\n"
    )
    options = ["--scores", str(tmp_path / "s.csv"), "--capacity", "10", "--explore", "0.2"]
    done = CliRunner().invoke(main, ["select", *options, "--out", str(tmp_path / "list.csv")])
    assert done.exit_code == 0, done.output
    listed = (tmp_path / "list.csv").read_text().splitlines()[1:]
    assert len(listed) == 10
    assert sum('"random"' in line for line in listed) == 2
