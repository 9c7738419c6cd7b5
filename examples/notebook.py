"""A session as one has it in a notebook: an engine that stays open over many cells (each begins with `# %%`)."""

# %% Open it. What is in the folder already is there again.
from bank import Payment, make_app

import holdfast as hf

engine = hf.Engine(make_app(), data="bank-data")
bank = engine.open()

# %% Ask.
print(bank.ask("payments", Payment("ann", 500)))
print(bank.ask("payments", Payment("ann", -800)))

# %% Look.
print(bank.query("pay", "ann"))

# %% Close it before the notebook is closed; if you forget, nothing is lost, only the next start takes longer.
engine.close()
