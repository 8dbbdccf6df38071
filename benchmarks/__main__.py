"""Run the benchmarks that need no data but their own: `make bench`. The others say in their first lines what they need."""

from benchmarks import budget, features, history

if __name__ == "__main__":
    features.main()
    history.main([])
    budget.main()
