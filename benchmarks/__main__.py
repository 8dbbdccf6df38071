"""Run the benchmarks that need no external data: `make bench`. The others state in their first lines what they need."""

from benchmarks import features, history

if __name__ == "__main__":
    features.main()
    history.main([])
